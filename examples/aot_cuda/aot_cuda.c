/* A GPU kernel that was built ahead of time: neither a compiler nor NVRTC is needed where this runs, only the driver.
 *
 *     attune build kernels/windowed/streaming_window.attn --target cuda --dtype bf16 --shape D=64 -o DIRECTORY
 *     cc -IDIRECTORY aot_cuda.c DIRECTORY/streaming_window.o -lattune_rt -lpthread -ldl -lm
 *
 * streaming_window.h has the typed entry, streaming_window.o the machine code as data. Memory comes from the driver by
 * dlopen here, so that this builds without CUDA; a program that has the CUDA runtime would call cudaMalloc. */
#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "streaming_window.h"

enum { HEADS = 4, KEY_HEADS = 2, TOKENS = 777, WIDTH = 64, WINDOW = 100, SINKS = 4 };

typedef uint64_t Address;
static struct {
    int (*Init)(unsigned flags);
    int (*DevicePrimaryCtxRetain)(void **context, int device);
    int (*CtxPushCurrent)(void *context);
    int (*MemAlloc)(Address *address, size_t size);
    int (*MemFree)(Address address);
    int (*MemcpyHtoD)(Address to, const void *from, size_t size);
    int (*MemcpyDtoH)(void *to, Address from, size_t size);
} cuda;

static int driver_open(void)
{
    const char *path = getenv("ATTUNE_LIBCUDA");
    void *library = dlopen(path ? path : "libcuda.so.1", RTLD_NOW), *context;
    int (*find)(const char *name, void *entry, int version, uint64_t flags, void *status) = NULL;
    if (library)
        *(void **)&find = dlsym(library, "cuGetProcAddress_v2");
    const struct {
        const char *name;
        void *entry;
    } rows[] = {{"cuInit", &cuda.Init},         {"cuDevicePrimaryCtxRetain", &cuda.DevicePrimaryCtxRetain},
                {"cuCtxPushCurrent", &cuda.CtxPushCurrent}, {"cuMemAlloc", &cuda.MemAlloc},     {"cuMemFree", &cuda.MemFree},
                {"cuMemcpyHtoD", &cuda.MemcpyHtoD}, {"cuMemcpyDtoH", &cuda.MemcpyDtoH}};
    int status;
    for (size_t n = 0; find && n < sizeof rows / sizeof rows[0]; n++)
        if (find(rows[n].name, rows[n].entry, 12030, 0, &status) != 0)
            return 0;
    return find && cuda.Init(0) == 0 && cuda.DevicePrimaryCtxRetain(&context, 0) == 0 && cuda.CtxPushCurrent(context) == 0;
}

static uint16_t to_bf16(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static double from_bf16(uint16_t x)
{
    uint32_t bits = (uint32_t)x << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return (double)value;
}

static uint16_t q[HEADS][TOKENS][WIDTH], k[KEY_HEADS][TOKENS][WIDTH], v[KEY_HEADS][TOKENS][WIDTH], o[HEADS][TOKENS][WIDTH];

static Address upload(const void *from, size_t size)
{
    Address address = 0;
    return cuda.MemAlloc(&address, size) == 0 && cuda.MemcpyHtoD(address, from, size) == 0 ? address : 0;
}

/* The largest difference of channel 0 from the sums by hand. */
static double compare(void)
{
    double worst = 0;
    for (int h = 0; h < HEADS; h++)
        for (int i = 0; i < TOKENS; i++) {
            int g = h / (HEADS / KEY_HEADS);
            double sum = 0, weighted = 0;
            for (int j = 0; j <= i; j++) {
                if (i - j >= WINDOW && j >= SINKS)
                    continue;
                double s = 0;
                for (int c = 0; c < WIDTH; c++)
                    s += from_bf16(q[h][i][c]) * from_bf16(k[g][j][c]);
                double w = exp(s / sqrt(WIDTH));
                sum += w;
                weighted += w * from_bf16(v[g][j][0]);
            }
            double difference = fabs(weighted / sum - from_bf16(o[h][i][0]));
            if (!(difference <= worst))
                worst = difference; /* NaN too */
        }
    return worst;
}

int main(void)
{
    if (!driver_open()) {
        puts("no CUDA driver or no GPU");
        return 77;
    }
    for (int n = 0; n < HEADS * TOKENS * WIDTH; n++)
        (&q[0][0][0])[n] = to_bf16(sinf(0.7f * (float)n)), (&o[0][0][0])[n] = 0xffff;
    for (int n = 0; n < KEY_HEADS * TOKENS * WIDTH; n++) {
        (&k[0][0][0])[n] = to_bf16(cosf(1.3f * (float)n));
        (&v[0][0][0])[n] = to_bf16(sinf(0.1f * (float)n));
    }
    Address device_q = upload(q, sizeof q), device_k = upload(k, sizeof k), device_v = upload(v, sizeof v),
            device_o = upload(o, sizeof o);
    AttuneError *error = NULL;
    AttuneContext *context = attune_context_create(NULL, &error);
    AttuneKernel *kernel = context ? streaming_window_kernel(context, &error) : NULL;
    streaming_window_args args = streaming_window_defaults();
    args.B = 1;
    args.H = HEADS;
    args.G = KEY_HEADS;
    args.M = args.N = TOKENS;
    args.q = (void *)(uintptr_t)device_q;
    args.k = (void *)(uintptr_t)device_k;
    args.v = (void *)(uintptr_t)device_v;
    args.o = (void *)(uintptr_t)device_o;
    args.window = WINDOW;
    args.sinks = SINKS;
    if (!kernel || streaming_window_run(kernel, &args, &error) != ATTUNE_OK) {
        printf("%s\n", attune_error_message(error));
        return 1;
    }
    if (cuda.MemcpyDtoH(o, device_o, sizeof o) != 0) /* waits for the launch */
        return 1;
    double worst = compare();
    printf("launched; largest difference %g\n", worst);
    attune_kernel_destroy(kernel);
    attune_context_destroy(context);
    cuda.MemFree(device_q), cuda.MemFree(device_k), cuda.MemFree(device_v), cuda.MemFree(device_o);
    return worst < 0.01 ? 0 : 2;
}
