/* Launches on the fake driver: what reaches the device, and what the caller is told. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "fake_kernel.h"
#include "suites.h"

enum { ITEMS = FIX_B * FIX_H * FIX_M, AT_ONCE = FAKE_SM_COUNT * FAKE_OCCUPANCY, CONTEXT_HANDLE = 0xc000 + 100 };
#define STREAM(n) ((void *)(uintptr_t)(0x5000 + (n)))

static void launch_well(AttuneKernel *kernel, const AttuneLaunch *launch)
{
    AttuneError *error = NULL;
    AttuneStatus status = attune_kernel_launch(kernel, launch, &error);
    if (status != ATTUNE_OK)
        printf("\n%s\n", attune_error_message(error));
    CU_ASSERT_EQUAL(status, ATTUNE_OK);
    attune_error_free(error);
}

static void launch_badly(AttuneKernel *kernel, const AttuneLaunch *launch, AttuneStatus want, const char *part)
{
    AttuneError *error = NULL;
    CU_ASSERT_EQUAL(attune_kernel_launch(kernel, launch, &error), want);
    CHECK_CONTAINS(attune_error_message(error), part);
    attune_error_free(error);
}

static void arguments(void)
{
    fake_reset();
    AttuneContext *context = attune_context_create(NULL, NULL);
    AttuneKernel *kernel = fake_kernel(context, NULL);
    Fixture f;
    fake_fixture_init(&f);
    f.launch.stream = STREAM(1);
    launch_well(kernel, &f.launch);
    int waits = fake->waits;
    launch_well(kernel, &f.launch);
    CU_ASSERT_EQUAL(fake->waits, waits);     /* launches wait for nothing */
    CU_ASSERT_EQUAL(fake->loads, 1);
    CU_ASSERT_EQUAL(fake->launch_count, 4);
    CU_ASSERT_EQUAL(fake->pool_blocks, 0);
    const FakeLaunch *first = &fake->launches[0], *second = &fake->launches[1];
    CU_ASSERT_STRING_EQUAL(first->entry, "sum_rows");
    CU_ASSERT_STRING_EQUAL(second->entry, "write_rows");
    CU_ASSERT_EQUAL(first->grid, ITEMS);
    CU_ASSERT_EQUAL(second->grid, AT_ONCE);
    CU_ASSERT(first->threads == 128 && first->shared == 1000 && second->threads == 384 && second->shared == 200000);
    CU_ASSERT(first->stream == STREAM(1) && second->stream == STREAM(1) && fake->last_pool_stream == STREAM(1));
    CU_ASSERT_EQUAL(fake_slot(1, slot_of_size(VAR_SIZE_M)), FIX_M);
    CU_ASSERT_EQUAL(fake_slot(1, slot_of_tensor(0)), (int64_t)(intptr_t)f.launch.q.data);
    CU_ASSERT_EQUAL(fake_slot(1, slot_of_tensor(0) + 2), FIX_M * FIX_D);
    CU_ASSERT_EQUAL(fake_slot(0, slot_of_tensor(4)), fake_slot(1, slot_of_tensor(4))); /* the workspace of both phases */
    CU_ASSERT_NOT_EQUAL(fake_slot(0, slot_of_tensor(4)), 0);
    CU_ASSERT(fake->last_pool_size >= ITEMS * 4);
    CU_ASSERT_EQUAL(fake_slot(1, SLOT_CU_Q), 0);
    CU_ASSERT_EQUAL(fake->map_count, 4);
    CU_ASSERT_EQUAL(fake_map(1, 0)->opaque[1], (uint64_t)(uintptr_t)f.launch.q.data);
    CU_ASSERT_EQUAL(fake_map(1, 1)->opaque[1], (uint64_t)(uintptr_t)f.launch.o.data);
    const FakeMap *q = &fake->maps[0];
    CU_ASSERT(q->rank == 5 && q->interleave == 0 && q->swizzle == 3 && q->l2_promotion == 3 && q->fill == 0);
    CU_ASSERT(q->dims[0] == FIX_D && q->dims[1] == FIX_M && q->dims[3] == FIX_H && q->dims[4] == FIX_B);
    CU_ASSERT(q->box[0] == 32 && q->box[1] == 64);
    for (int d = 0; d < 5; d++)
        CU_ASSERT_EQUAL(q->element_strides[d], 1);
    AttuneKernelInfo info;
    attune_kernel_info(kernel, &info);
    CU_ASSERT_EQUAL(info.device, ATTUNE_DEVICE_CUDA);
    attune_kernel_destroy(kernel);
    attune_context_destroy(context);
    fake_check_clean();
}

static void few_items(void)
{
    fake_reset();
    AttuneContext *context = attune_context_create(NULL, NULL);
    AttuneKernel *kernel = fake_kernel(context, NULL);
    Fixture f;
    fake_fixture_init(&f);
    f.q_shape[0] = f.k_shape[0] = f.v_shape[0] = f.o_shape[0] = f.lse_shape[0] = f.input_shape[FIX_DOC][0] = 1;
    f.q_shape[2] = f.o_shape[2] = f.lse_shape[2] = f.input_shape[FIX_BIAS][1] = 1;
    launch_well(kernel, &f.launch);
    CU_ASSERT_EQUAL(fake->launches[1].grid, FIX_H); /* fewer than run at once */
    f.q_shape[0] = f.k_shape[0] = f.v_shape[0] = f.o_shape[0] = f.lse_shape[0] = f.input_shape[FIX_DOC][0] = 0;
    launch_well(kernel, &f.launch);
    CU_ASSERT_EQUAL(fake->launch_count, 2); /* nothing to do */
    attune_kernel_destroy(kernel);
    attune_context_destroy(context);
    fake_check_clean();
}

static void map_keys(Description *d)
{
    d->shape.tensors[0].role = ROLE_K;
    d->shape.phases[1].maps[0].queries = false;
}

static void no_keys(void)
{
    fake_reset();
    AttuneContext *context = attune_context_create(NULL, NULL);
    AttuneKernel *kernel = fake_kernel(context, map_keys);
    Fixture f;
    fake_fixture_init(&f);
    memcpy(f.strides, (int64_t[4]){0, 0, 0, 1}, sizeof f.strides); /* one row for all */
    f.launch.k.strides = f.launch.v.strides = f.inputs[1].tensor.strides = f.inputs[2].tensor.strides = f.strides;
    f.k_shape[2] = f.v_shape[2] = f.input_shape[FIX_BIAS][2] = 0;
    f.launch.k.data = f.launch.v.data = NULL;
    launch_well(kernel, &f.launch);
    const FakeMap *k = &fake->maps[0];
    CU_ASSERT(k->address != NULL);
    uint32_t zeros[64] = {0};
    CU_ASSERT_EQUAL(memcmp(k->address, zeros, sizeof zeros), 0);
    for (int d = 0; d < 5; d++)
        CU_ASSERT_EQUAL(k->dims[d], 1);
    attune_kernel_destroy(kernel);
    attune_context_destroy(context);
    fake_check_clean();
}

static void old_target(Description *d)
{
    d->shape.target = "cuda:sm_80";
}

static void much_shared(Description *d)
{
    d->shape.phases[1].shared_bytes = 300000;
}

static void many_threads(Description *d)
{
    d->shape.phases[0].threads = 2048;
}

static void refused_kernel(void (*change)(Description *), const char *part)
{
    fake_reset();
    AttuneContext *context = attune_context_create(NULL, NULL);
    AttuneKernel *kernel = fake_kernel(context, change);
    Fixture f;
    fake_fixture_init(&f);
    launch_badly(kernel, &f.launch, change == many_threads ? ATTUNE_ERROR_INTERNAL : ATTUNE_ERROR_TARGET, part);
    CU_ASSERT_EQUAL(fake->launch_count, 0);
    attune_kernel_destroy(kernel);
    attune_context_destroy(context);
    fake_check_clean();
}

static void complaints(void)
{
    refused_kernel(old_target, "compiled for sm_80, but device 0 (Fake 100) is sm_90");
    refused_kernel(much_shared, "needs 300000 bytes of shared memory a block, but device 0 (Fake 100) has 232448");
    refused_kernel(many_threads, "2048 threads");
    fake_reset();
    AttuneContext *context = attune_context_create(NULL, NULL);
    AttuneKernel *kernel = fake_kernel(context, NULL);
    Fixture f;
    fake_fixture_init(&f);
    f.launch.q.device.kind = ATTUNE_DEVICE_HOST;
    launch_badly(kernel, &f.launch, ATTUNE_ERROR_ARGUMENT, "q is in host memory, but the kernel runs on the device");
    fake_fixture_init(&f);
    f.inputs[2].tensor.device.index = 1;
    launch_badly(kernel, &f.launch, ATTUNE_ERROR_ARGUMENT, "input 'bias' is on device 1, but q is on device 0");
    fake_fixture_init(&f);
    f.launch.q.data = (char *)f.launch.q.data + 4;
    launch_badly(kernel, &f.launch, ATTUNE_ERROR_ARGUMENT, "which is not a multiple of 16");
    fake_fixture_init(&f);
    memcpy(f.strides, (int64_t[4]){128, 32, 9, 1}, sizeof f.strides);
    f.launch.q.strides = f.strides;
    launch_badly(kernel, &f.launch, ATTUNE_ERROR_ARGUMENT, "q has rows 36 bytes apart");
    fake_fixture_init(&f);
    memcpy(f.strides, (int64_t[4]){0, 0, 0, 1}, sizeof f.strides); /* one row for all */
    f.launch.k.strides = f.launch.v.strides = f.inputs[1].tensor.strides = f.inputs[2].tensor.strides = f.strides;
    f.k_shape[2] = f.v_shape[2] = f.input_shape[1][1] = f.input_shape[2][2] = ((int64_t)1 << 29) + 1;
    launch_badly(kernel, &f.launch, ATTUNE_ERROR_ARGUMENT, "is 536870913: on CUDA they are at most 2^29");
    for (int far = 1; far < 70; far += 68) {
        fake_fixture_init(&f);
        AttuneTensor *tensors[] = {&f.launch.q, &f.launch.k, &f.launch.v, &f.launch.o, &f.returns[0].tensor};
        for (int t = 0; t < 5; t++)
            tensors[t]->device.index = far;
        for (int i = 0; i < FIX_INPUTS; i++)
            f.inputs[i].tensor.device.index = far;
        launch_badly(kernel, &f.launch, far == 1 ? ATTUNE_ERROR_TARGET : ATTUNE_ERROR_ARGUMENT,
                     far == 1 ? "device.index is 1, but there is 1 CUDA device" : "device.index is 69; 0 to 63");
    }
    CU_ASSERT_EQUAL(fake->launch_count, 0);
    attune_kernel_destroy(kernel);
    attune_context_destroy(context);
    fake_check_clean();
}

/* Ragged batches -------------------------------------------------------------------------------------------------- */

static void make_ragged(Fixture *f)
{
    fake_fixture_init(f);
    fixture_make_ragged(f);
}

static void ragged(void)
{
    fake_reset();
    AttuneContext *context = attune_context_create(NULL, NULL);
    AttuneKernel *kernel = fake_kernel(context, NULL);
    Fixture f;
    make_ragged(&f);
    launch_well(kernel, &f.launch);
    int32_t want[6] = {0, 1, 3, 0, 3, 5};
    CU_ASSERT_EQUAL(memcmp(fake->copied, want, sizeof want), 0);
    CU_ASSERT_EQUAL(fake_slot(1, SLOT_CU_K) - fake_slot(1, SLOT_CU_Q), 12);
    CU_ASSERT_NOT_EQUAL(fake_slot(1, SLOT_CU_Q), (int64_t)(intptr_t)f.cu_q);
    CU_ASSERT(fake_slot(1, SLOT_CU_Q) >= fake_slot(1, slot_of_tensor(4)) + ITEMS / FIX_M * 2 * 4); /* behind the workspace */
    CU_ASSERT(fake->maps[0].dims[1] == 3 && fake->maps[0].dims[4] == 1); /* all rows, one batch entry */
    fake->capturing = 1;
    launch_badly(kernel, &f.launch, ATTUNE_ERROR_ARGUMENT, "create a plan before the capture");
    fake->capturing = 0;
    CU_ASSERT_EQUAL(fake->pool_blocks, 0);

    AttuneError *error = NULL;
    AttunePlan *plan = attune_plan_create(kernel, &f.launch, &error);
    CU_ASSERT_PTR_NOT_NULL_FATAL(plan);
    memset(f.cu_q, 0x77, sizeof f.cu_q); /* plans have copied them */
    memset(f.cu_k, 0x77, sizeof f.cu_k);
    int copies = fake->copies, before = fake->launch_count;
    const void *inputs[FIX_INPUTS];
    void *returns[1];
    AttunePlanData data = fake_plan_data(&f, inputs, returns, STREAM(2));
    fake->capturing = 1;
    CU_ASSERT_EQUAL(attune_plan_launch(plan, &data, &error), ATTUNE_OK);
    fake->capturing = 0;
    CU_ASSERT_EQUAL(attune_plan_launch(plan, &data, &error), ATTUNE_OK);
    CU_ASSERT_EQUAL(fake->copies, copies);
    int32_t kept[6];
    memcpy(kept, (void *)(intptr_t)fake_slot(before + 1, SLOT_CU_Q), sizeof kept);
    CU_ASSERT_EQUAL(memcmp(kept, want, sizeof want), 0);
    attune_plan_destroy(plan);
    attune_kernel_destroy(kernel);
    attune_context_destroy(context);
    fake_check_clean();
}

/* Plans ------------------------------------------------------------------------------------------------------------ */

static void plans(void)
{
    fake_reset();
    AttuneContext *context = attune_context_create(NULL, NULL);
    AttuneKernel *kernel = fake_kernel(context, NULL);
    Fixture f;
    fake_fixture_init(&f);
    AttuneError *error = NULL;
    AttunePlan *plan = attune_plan_create(kernel, &f.launch, &error);
    CU_ASSERT_PTR_NOT_NULL_FATAL(plan);
    CU_ASSERT_EQUAL(fake->loads, 1); /* ready before the first launch, which may be captured */
    const void *inputs[FIX_INPUTS];
    void *returns[1];
    AttunePlanData data = fake_plan_data(&f, inputs, returns, STREAM(3));
    int waits = fake->waits;
    for (int k = 0; k < 3; k++)
        CU_ASSERT_EQUAL(attune_plan_launch(plan, &data, &error), ATTUNE_OK);
    CU_ASSERT_EQUAL(fake->map_count, 2);
    data.o = (char *)data.o + 64;
    CU_ASSERT_EQUAL(attune_plan_launch(plan, &data, &error), ATTUNE_OK);
    CU_ASSERT_EQUAL(fake->map_count, 3);
    CU_ASSERT_EQUAL(fake_map(7, 0)->opaque[1], (uint64_t)(uintptr_t)data.q);
    CU_ASSERT_EQUAL(fake_map(7, 1)->opaque[1], (uint64_t)(uintptr_t)data.o);
    data.o = (char *)data.o + 4;
    CU_ASSERT_EQUAL(attune_plan_launch(plan, &data, &error), ATTUNE_ERROR_ARGUMENT);
    CHECK_CONTAINS(attune_error_message(error), "o.data is 0x");
    attune_error_free(error);
    CU_ASSERT_EQUAL(fake->waits, waits);
    attune_kernel_destroy(kernel);
    attune_plan_destroy(plan);
    attune_context_destroy(context);
    fake_check_clean();
}

/* Counters --------------------------------------------------------------------------------------------------------- */

static int64_t counter_of(AttuneKernel *kernel, Fixture *f, void *stream)
{
    f->launch.stream = stream;
    launch_well(kernel, &f->launch);
    int64_t address = fake_slot((fake->launch_count - 1) % FAKE_MOST, SLOT_COUNTER);
    return address;
}

static void counters(void)
{
    fake_reset();
    AttuneContext *context = attune_context_create(NULL, NULL);
    AttuneKernel *kernel = fake_kernel(context, NULL), *other = fake_kernel(context, NULL);
    Fixture f;
    fake_fixture_init(&f);
    int64_t first = counter_of(kernel, &f, STREAM(0));
    int memsets = fake->memsets;
    uint32_t zeros[64] = {0};
    CU_ASSERT_NOT_EQUAL_FATAL(first, 0);
    CU_ASSERT_EQUAL(memcmp((void *)(intptr_t)first, zeros, sizeof zeros), 0);
    CU_ASSERT_EQUAL(counter_of(kernel, &f, STREAM(0)), first);
    CU_ASSERT_EQUAL(counter_of(other, &f, STREAM(0)), first); /* in order, as the stream is */
    int64_t second = counter_of(kernel, &f, STREAM(1));
    CU_ASSERT(second >= first + 256 || second + 256 <= first);
    for (int n = 2; n < 64; n++)
        counter_of(kernel, &f, STREAM(n));
    CU_ASSERT_EQUAL(fake->memsets, memsets); /* kernels leave them zeroed */
    counter_of(kernel, &f, STREAM(64));      /* one stream too many: cleared for each launch */
    CU_ASSERT_EQUAL(fake->memsets, memsets + 1);
    CU_ASSERT_EQUAL(counter_of(kernel, &f, STREAM(1)), second);
    fake->capturing = 1;
    CU_ASSERT_NOT_EQUAL(counter_of(kernel, &f, STREAM(0)), first);
    CU_ASSERT_EQUAL(fake->memsets, memsets + 2);
    fake->capturing = 0;
    fake->no_stream_ids = true;
    counter_of(kernel, &f, STREAM(0));
    CU_ASSERT_EQUAL(fake->memsets, memsets + 3);
    attune_kernel_destroy(other);
    attune_kernel_destroy(kernel);
    attune_context_destroy(context);
    fake_check_clean();
}

/* The caller's CUDA context ----------------------------------------------------------------------------------------- */

static void callers_context(void)
{
    fake_reset();
    AttuneContext *context = attune_context_create(NULL, NULL);
    AttuneKernel *kernel = fake_kernel(context, NULL);
    Fixture f;
    fake_fixture_init(&f);
    const char *why;
    const CudaApi *cuda = cuda_api(&why);
    CudaHandle current;
    launch_well(kernel, &f.launch);
    cuda->CtxGetCurrent(&current);
    CU_ASSERT_PTR_NULL(current);
    cuda->CtxPushCurrent((CudaHandle)0xbeef);
    launch_well(kernel, &f.launch);
    cuda->CtxGetCurrent(&current);
    CU_ASSERT_PTR_EQUAL(current, (CudaHandle)0xbeef);
    cuda->CtxPushCurrent((CudaHandle)CONTEXT_HANDLE); /* as frameworks do */
    int calls = fake->calls;
    launch_well(kernel, &f.launch);
    CU_ASSERT(fake->calls - calls <= 10); /* and no context calls besides asking: the cost of a launch */
    cuda->CtxPopCurrent(&current);
    cuda->CtxPopCurrent(&current);
    attune_kernel_destroy(kernel);
    attune_context_destroy(context);
    fake_check_clean();
}

/* Threads ---------------------------------------------------------------------------------------------------------- */

enum { THREADS = 4, LAUNCHES = 50 };

static void *launch_often(void *user)
{
    AttuneKernel *kernel = user;
    Fixture *f = malloc(sizeof *f);
    fake_fixture_init(f);
    intptr_t failures = 0;
    for (int k = 0; k < LAUNCHES; k++)
        failures += attune_kernel_launch(kernel, &f->launch, NULL) != ATTUNE_OK;
    free(f);
    return (void *)failures;
}

static void threads(void)
{
    fake_reset();
    AttuneContext *context = attune_context_create(NULL, NULL);
    AttuneKernel *kernel = fake_kernel(context, NULL);
    pthread_t ids[THREADS];
    for (int t = 0; t < THREADS; t++)
        pthread_create(&ids[t], NULL, launch_often, kernel);
    for (int t = 0; t < THREADS; t++) {
        void *failures;
        pthread_join(ids[t], &failures);
        CU_ASSERT_PTR_NULL(failures);
    }
    CU_ASSERT_EQUAL(fake->loads, 1);
    CU_ASSERT_EQUAL(fake->contexts, 1);
    CU_ASSERT_EQUAL(fake->launch_count, 2 * THREADS * LAUNCHES);
    attune_kernel_destroy(kernel);
    attune_context_destroy(context);
    fake_check_clean();
}

CU_TestInfo cuda_launch_tests[] = {
    {"arguments", arguments}, {"few items", few_items},         {"no keys", no_keys},
    {"complaints", complaints}, {"ragged", ragged},             {"plans", plans},
    {"counters", counters},   {"the caller's context", callers_context}, {"threads", threads}, CU_TEST_INFO_NULL,
};
