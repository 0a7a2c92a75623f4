/* The runtime on a real GPU, with a kernel written by hand: every form of tensor map, ragged batches, workspaces,
 * counters under several streams, plans, captured graphs. Exit status 77 where there is no GPU or no NVRTC. */
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compiler/emit/nvrtc.h"
#include "copy_kernel.h"
#include "runtime/device.h"

enum { SKIPPED = 77, GUARD = 64 };

static AttuneContext *context;
static Device *device;
static int failures, passed;

static bool good(AttuneStatus status, AttuneError **error)
{
    if (status != ATTUNE_OK)
        printf("  %s\n", attune_error_message(*error));
    attune_error_free(*error);
    *error = NULL;
    return status == ATTUNE_OK;
}

static void verdict(const char *what, bool fine)
{
    printf("%-60s %s\n", what, fine ? "ok" : "FAILED");
    failures += !fine;
    passed += fine;
}

/* q and o of a launch: random bits, guards around. */
typedef struct Tensors {
    int64_t shape[4], count;
    int elem;
    unsigned char *host, *back;
    void *q, *o;
    AttuneLaunch launch;
} Tensors;

static void tensors_free(Tensors *t)
{
    free(t->host);
    free(t->back);
    device_free(device, t->q);
    device_free(device, t->o);
}

static bool tensors_make(Tensors *t, AttuneDtype dtype, AttuneLayout layout, int64_t b, int64_t h, int64_t m, int64_t width)
{
    AttuneError *error = NULL;
    bool bhmd = layout == ATTUNE_BHMD;
    *t = (Tensors){.shape = {b, bhmd ? h : m, bhmd ? m : h, width}, .count = b * h * m * width,
                   .elem = (int)attune_dtype_size(dtype)};
    size_t bytes = (size_t)t->count * (size_t)t->elem;
    t->host = malloc(bytes + 1);
    t->back = malloc(bytes + 2 * GUARD);
    for (size_t k = 0; k < bytes; k++) /* no NaN in any type */
        t->host[k] = (unsigned char)((k * 2654435761u >> 13) & 0x3f);
    memset(t->back, 0xee, bytes + 2 * GUARD);
    AttuneStatus status = device_alloc(device, bytes, &t->q, &error);
    if (status == ATTUNE_OK)
        status = device_alloc(device, bytes + 2 * GUARD, &t->o, &error);
    if (status == ATTUNE_OK)
        status = device_upload(device, t->q, t->host, bytes, &error);
    if (status == ATTUNE_OK)
        status = device_upload(device, t->o, t->back, bytes + 2 * GUARD, &error);
    AttuneTensor q = {.data = t->q, .dtype = dtype, .ndim = 4, .shape = t->shape, .device = {ATTUNE_DEVICE_CUDA, 0}};
    AttuneTensor o = q;
    o.data = (char *)t->o + GUARD;
    t->launch = (AttuneLaunch){.layout = layout, .q = q, .k = q, .o = o};
    return good(status, &error);
}

/* o is q, and nothing around it was written. */
static bool tensors_equal(Tensors *t)
{
    AttuneError *error = NULL;
    size_t bytes = (size_t)t->count * (size_t)t->elem;
    if (!good(device_download(device, t->back, t->o, bytes + 2 * GUARD, &error), &error))
        return false;
    for (size_t k = 0; k < GUARD; k++)
        if (t->back[k] != 0xee || t->back[GUARD + bytes + k] != 0xee) {
            printf("  written outside\n");
            return false;
        }
    for (size_t k = 0; k < bytes; k++)
        if (t->back[GUARD + k] != t->host[k]) {
            printf("  element %zu of %lld differs: %02x, not %02x\n", k / (size_t)t->elem, (long long)t->count,
                   t->back[GUARD + k], t->host[k]);
            return false;
        }
    return true;
}

typedef struct Case {
    const char *what;
    CopyForm form;
    AttuneLayout layout;
    int64_t b, h, axes[3];
} Case;

static const Case cases[] = {
    {"bf16 d128, panels in one copy", {ATTUNE_BF16, 1, 128, {64}, false, false}, ATTUNE_BHMD, 2, 3, {200}},
    {"f16 d64 BMHD", {ATTUNE_F16, 1, 64, {128}, false, false}, ATTUNE_BMHD, 3, 5, {333}},
    {"bf16 d256", {ATTUNE_BF16, 1, 256, {64}, false, false}, ATTUNE_BHMD, 1, 2, {65}},
    {"f32 d64", {ATTUNE_F32, 1, 64, {32}, false, false}, ATTUNE_BHMD, 2, 2, {100}},
    {"bf16 d96 by rows", {ATTUNE_BF16, 1, 96, {64}, false, false}, ATTUNE_BHMD, 2, 2, {100}},
    {"bf16 d40 by rows, BMHD", {ATTUNE_BF16, 1, 40, {64}, false, false}, ATTUNE_BMHD, 2, 3, {70}},
    {"f32 d100 by rows", {ATTUNE_F32, 1, 100, {16}, false, false}, ATTUNE_BHMD, 1, 1, {33}},
    {"one row", {ATTUNE_BF16, 1, 128, {64}, false, false}, ATTUNE_BHMD, 1, 1, {1}},
    {"one row a batch entry, BMHD", {ATTUNE_BF16, 1, 128, {64}, false, false}, ATTUNE_BMHD, 4, 2, {1}},
    {"rank 2, d128", {ATTUNE_BF16, 2, 128, {4, 16}, false, false}, ATTUNE_BHMD, 2, 3, {9, 37}},
    {"rank 2, d64, BMHD", {ATTUNE_BF16, 2, 64, {8, 8}, false, false}, ATTUNE_BMHD, 2, 3, {20, 20}},
    {"rank 2, d48", {ATTUNE_BF16, 2, 48, {8, 8}, false, false}, ATTUNE_BHMD, 1, 2, {3, 30}},
    {"rank 3, d64", {ATTUNE_BF16, 3, 64, {2, 4, 8}, false, false}, ATTUNE_BHMD, 2, 3, {3, 9, 10}},
    {"rank 3, d128, BMHD of one batch entry", {ATTUNE_BF16, 3, 128, {4, 4, 4}, false, false}, ATTUNE_BMHD, 1, 3, {5, 6, 7}},
    {"through a workspace", {ATTUNE_BF16, 1, 128, {64}, true, false}, ATTUNE_BHMD, 2, 3, {200}},
    {"persistent", {ATTUNE_BF16, 1, 128, {64}, false, true}, ATTUNE_BHMD, 16, 16, {300}},
    {"persistent, few items", {ATTUNE_BF16, 1, 64, {64}, false, true}, ATTUNE_BHMD, 1, 2, {100}},
};

static bool run_case(const Case *c)
{
    AttuneError *error = NULL;
    AttuneKernel *kernel = copy_kernel(context, &c->form);
    Tensors t;
    int64_t m = c->axes[0] * (c->form.rank > 1 ? c->axes[1] : 1) * (c->form.rank > 2 ? c->axes[2] : 1);
    bool fine = tensors_make(&t, c->form.dtype, c->layout, c->b, c->h, m, c->form.width) && kernel;
    for (int a = 0; a < c->form.rank && c->form.rank > 1; a++)
        t.launch.m_axis[a] = c->axes[a];
    for (int repeat = 0; repeat < 3 && fine; repeat++) /* counters must be as they were */
        fine = good(attune_kernel_launch(kernel, &t.launch, &error), &error);
    fine = fine && tensors_equal(&t);
    tensors_free(&t);
    attune_kernel_destroy(kernel);
    return fine;
}

/* Three sequences, one of them empty, in one batch entry. */
static bool ragged(bool with_plan)
{
    static const int32_t cu[] = {0, 70, 70, 200};
    AttuneError *error = NULL;
    AttuneKernel *kernel = copy_kernel(context, &(CopyForm){ATTUNE_BF16, 1, 64, {64}, false, false});
    Tensors t;
    bool fine = tensors_make(&t, ATTUNE_BF16, ATTUNE_BMHD, 1, 4, 200, 64) && kernel;
    t.launch.cu_seqlens_q = t.launch.cu_seqlens_k = cu;
    t.launch.sequences = 3;
    AttunePlanData data = {.q = t.launch.q.data, .k = t.launch.k.data, .o = t.launch.o.data};
    AttunePlan *plan = fine && with_plan ? attune_plan_create(kernel, &t.launch, &error) : NULL;
    if (fine)
        fine = good(with_plan ? attune_plan_launch(plan, &data, &error) : attune_kernel_launch(kernel, &t.launch, &error), &error);
    fine = fine && tensors_equal(&t);
    attune_plan_destroy(plan);
    tensors_free(&t);
    attune_kernel_destroy(kernel);
    return fine;
}

/* Several streams at once, the same persistent kernel in all. */
static bool streams(void)
{
    enum { STREAMS = 8, ROUNDS = 40 };
    AttuneError *error = NULL;
    AttuneKernel *kernel = copy_kernel(context, &(CopyForm){ATTUNE_BF16, 1, 128, {64}, false, true});
    CudaHandle stream[STREAMS] = {NULL};
    Tensors t[STREAMS];
    DeviceEntry entry;
    bool fine = kernel && good(device_enter(device, &entry, &error), &error);
    for (int s = 0; s < STREAMS; s++) {
        fine = tensors_make(&t[s], ATTUNE_BF16, ATTUNE_BHMD, 2, 3 + s, 500, 128) && fine;
        fine = fine && device->cuda->StreamCreate(&stream[s], CUDA_STREAM_NON_BLOCKING) == CUDA_DONE;
        t[s].launch.stream = stream[s];
    }
    for (int k = 0; k < ROUNDS && fine; k++)
        for (int s = 0; s < STREAMS && fine; s++)
            fine = good(attune_kernel_launch(kernel, &t[s].launch, &error), &error);
    for (int s = 0; s < STREAMS; s++) {
        fine = fine && device->cuda->StreamSynchronize(stream[s]) == CUDA_DONE && tensors_equal(&t[s]);
        if (stream[s])
            device->cuda->StreamDestroy(stream[s]);
        tensors_free(&t[s]);
    }
    if (kernel)
        device_leave(&entry);
    attune_kernel_destroy(kernel);
    return fine;
}

/* A launch captured into a graph and replayed: memory and counters are the graph's own. */
static bool graph(bool persistent)
{
    void *library = dlopen("libcuda.so.1", RTLD_NOW);
    int (*begin)(CudaHandle, int), (*end)(CudaHandle, CudaHandle *), (*instantiate)(CudaHandle *, CudaHandle, unsigned long long);
    int (*start)(CudaHandle, CudaHandle);
    const struct {
        const char *name;
        void *to;
    } rows[] = {{"cuStreamBeginCapture_v2", &begin}, {"cuStreamEndCapture", &end},
                {"cuGraphInstantiateWithFlags", &instantiate}, {"cuGraphLaunch", &start}};
    for (int i = 0; i < 4; i++) {
        void *entry = library ? dlsym(library, rows[i].name) : NULL;
        if (!entry)
            return false;
        memcpy(rows[i].to, &entry, sizeof entry);
    }
    AttuneError *error = NULL;
    AttuneKernel *kernel = copy_kernel(context, &(CopyForm){ATTUNE_BF16, 1, 128, {64}, !persistent, persistent});
    Tensors t;
    CudaHandle stream = NULL, made = NULL, ready = NULL;
    DeviceEntry entry;
    bool fine = tensors_make(&t, ATTUNE_BF16, ATTUNE_BHMD, 2, 3, 500, 128) && kernel &&
                good(device_enter(device, &entry, &error), &error);
    AttunePlan *plan = fine ? attune_plan_create(kernel, &t.launch, &error) : NULL;
    fine = fine && plan && device->cuda->StreamCreate(&stream, CUDA_STREAM_NON_BLOCKING) == CUDA_DONE;
    AttunePlanData data = {.q = t.launch.q.data, .k = t.launch.k.data, .o = t.launch.o.data, .stream = stream};
    fine = fine && begin(stream, 0) == CUDA_DONE;
    fine = fine && good(attune_plan_launch(plan, &data, &error), &error);
    fine = fine && end(stream, &made) == CUDA_DONE && instantiate(&ready, made, 0) == CUDA_DONE;
    for (int k = 0; k < 3 && fine; k++)
        fine = start(ready, stream) == CUDA_DONE;
    fine = fine && device->cuda->StreamSynchronize(stream) == CUDA_DONE && tensors_equal(&t);
    attune_plan_destroy(plan);
    tensors_free(&t);
    attune_kernel_destroy(kernel);
    return fine;
}

static void *launch_in_thread(void *user)
{
    AttuneKernel *kernel = user;
    AttuneError *error = NULL;
    Tensors t;
    bool fine = tensors_make(&t, ATTUNE_BF16, ATTUNE_BHMD, 1, 3, 300, 128);
    for (int k = 0; k < 20 && fine; k++)
        fine = good(attune_kernel_launch(kernel, &t.launch, &error), &error);
    fine = fine && tensors_equal(&t);
    tensors_free(&t);
    return (void *)(intptr_t)fine;
}

static bool threads(void)
{
    enum { THREADS = 4 };
    AttuneKernel *kernel = copy_kernel(context, &(CopyForm){ATTUNE_BF16, 1, 128, {64}, true, false});
    pthread_t ids[THREADS];
    bool fine = kernel != NULL;
    for (int k = 0; k < THREADS; k++)
        pthread_create(&ids[k], NULL, launch_in_thread, kernel);
    for (int k = 0; k < THREADS; k++) {
        void *result;
        pthread_join(ids[k], &result);
        fine = fine && result;
    }
    attune_kernel_destroy(kernel);
    return fine;
}

/* Without a GPU: at least the texts are right. */
static void compile_all(void)
{
    for (size_t i = 0; i < sizeof cases / sizeof cases[0] && nvrtc_version(); i++) {
        AttuneKernel *kernel = copy_kernel(context, &cases[i].form);
        failures += kernel == NULL;
        attune_kernel_destroy(kernel);
    }
}

int main(void)
{
    AttuneError *error = NULL;
    context = attune_context_create(NULL, &error);
    if (!context || device_get(context, 0, &device, &error) != ATTUNE_OK || !nvrtc_version()) {
        char why[512];
        nvrtc_explain_absence(why, sizeof why);
        printf("skipped: %s%s\n", attune_error_message(error), device ? why : "");
        if (context)
            compile_all();
        attune_error_free(error);
        attune_context_destroy(context);
        return failures ? 1 : SKIPPED;
    }
    printf("%s, %d SMs, NVRTC %s\n", device->name, device->sm_count, nvrtc_version());
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        verdict(cases[i].what, run_case(&cases[i]));
    verdict("ragged", ragged(false));
    verdict("ragged, plan", ragged(true));
    verdict("eight streams", streams());
    verdict("graph with a workspace", graph(false));
    verdict("graph of a persistent kernel", graph(true));
    verdict("threads", threads());
    attune_context_destroy(context);
    printf("%d passed, %d failed\n", passed, failures);
    return failures > 0;
}
