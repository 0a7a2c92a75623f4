/* The fixture's kernel as one for GPUs. */
#include "fake_kernel.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

FakeState *fake;

void fake_load(void)
{
    void *library = dlopen(FAKE_LIBCUDA, RTLD_NOW);
    fake = library ? dlsym(library, "fake_state") : NULL;
    if (!fake) {
        printf("the fake driver cannot be loaded: %s\n", dlerror());
        exit(2);
    }
    setenv("ATTUNE_LIBCUDA", FAKE_LIBCUDA, 1);
    unsetenv("ATTUNE_NO_JIT");
}

void fake_check_clean(void)
{
    CU_ASSERT_EQUAL(fake->blocks, 0);
    CU_ASSERT_EQUAL(fake->pool_blocks, 0);
    CU_ASSERT_EQUAL(fake->modules, 0);
    CU_ASSERT_EQUAL(fake->pools, 0);
    CU_ASSERT_EQUAL(fake->streams, 0);
    CU_ASSERT_EQUAL(fake->events, 0);
    CU_ASSERT_EQUAL(fake->contexts, 0);
    CU_ASSERT_EQUAL(fake->without_context, 0);
}

void fake_reset(void)
{
    fake_check_clean();
    memset(fake, 0, sizeof *fake);
    fake->devices = 1;
    fake->major = 9;
    fake->argument_bytes = 2 * sizeof(CudaTensorMap) + (size_t)slot_of_tensor(5) * 8;
}

AttuneKernel *fake_kernel(AttuneContext *context, void (*change)(Description *description))
{
    Description *d = malloc(sizeof *d);
    ExtentStep steps[8];
    size_t size;
    fixture_description(d, steps);
    Shape *shape = &d->shape;
    shape->target = "cuda:sm_90a";
    shape->scratch_bytes = 0;
    shape->phases[0].threads = 128;
    shape->phases[0].shared_bytes = 1000;
    shape->phases[1].threads = 384;
    shape->phases[1].shared_bytes = 200000;
    shape->phases[1].persistent = true;
    shape->phases[1].map_count = 2;
    shape->phases[1].maps[0] = (KernelMap){.tensor = 0, .rank = 1, .box = {64}, .width = FIX_D, .queries = true};
    shape->phases[1].maps[1] = (KernelMap){.tensor = 1, .rank = 1, .box = {16}, .width = FIX_E, .queries = true};
    if (change)
        change(d);
    unsigned char *bytes = description_pack(d, true, &size);
    AttuneBuilt built = {.description = bytes, .description_size = size, .phase_count = shape->phase_count, .image = "fake",
                         .image_size = 4};
    AttuneError *error = NULL;
    AttuneKernel *kernel = attune_kernel_from_built(context, &built, &error);
    if (!kernel)
        printf("\n%s\n", attune_error_message(error));
    attune_error_free(error);
    free(bytes);
    free(d);
    CU_ASSERT_PTR_NOT_NULL_FATAL(kernel);
    return kernel;
}

void fake_fixture_init(Fixture *f)
{
    fixture_init(f);
    AttuneTensor *tensors[] = {&f->launch.q, &f->launch.k, &f->launch.v, &f->launch.o, &f->returns[0].tensor};
    for (int t = 0; t < 5; t++)
        tensors[t]->device.kind = ATTUNE_DEVICE_CUDA;
    for (int i = 0; i < FIX_INPUTS; i++)
        f->inputs[i].tensor.device.kind = ATTUNE_DEVICE_CUDA;
    /* Copies need addresses that are multiples of 16. */
    f->launch.q.data = (void *)(((uintptr_t)f->q + 15) & ~(uintptr_t)15);
    f->launch.o.data = (void *)(((uintptr_t)f->o + 15) & ~(uintptr_t)15);
}

AttunePlanData fake_plan_data(const Fixture *f, const void **inputs, void **returns, void *stream)
{
    for (int i = 0; i < FIX_INPUTS; i++)
        inputs[i] = f->inputs[i].tensor.data;
    returns[0] = f->returns[0].tensor.data;
    return (AttunePlanData){.q = f->launch.q.data, .k = f->launch.k.data, .v = f->launch.v.data, .o = f->launch.o.data,
                            .inputs = inputs, .returns = returns, .stream = stream};
}

int64_t fake_slot(int launch, int slot)
{
    const FakeLaunch *l = &fake->launches[launch];
    size_t maps = strcmp(l->entry, "write_rows") == 0 ? 2 * sizeof(CudaTensorMap) : 0;
    int64_t value;
    memcpy(&value, l->argument + maps + (size_t)slot * 8, 8);
    return value;
}

const CudaTensorMap *fake_map(int launch, int map)
{
    static CudaTensorMap copy;
    memcpy(&copy, fake->launches[launch].argument + (size_t)map * sizeof copy, sizeof copy);
    return &copy;
}
