/* Denoises a photograph: attention over its pixels, with patches as queries and keys (denoise.attn says how).
 *
 *     denoise [PHOTO.png [DIRECTORY [SIGMA]]]
 *
 * Adds seeded Gaussian noise of standard deviation SIGMA (of 255; default 25) to the photograph, denoises it,
 * prints what was gained in PSNR and writes before.png, after.png and difference.png (what was taken away,
 * around grey). Also compares a sample of rows with the double-precision reference. Exit status 1 when that
 * fails or less than 5 dB are gained. */
#include <math.h>
#include <png.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "runtime/attune.h"

enum { PATCH = 5, CHANNELS = 3, D = PATCH * PATCH * CHANNELS };

typedef struct Photo {
    int width, height;
    float *value; /* [height][width][CHANNELS], 0 to 1 */
} Photo;

static void fail(const char *what, const char *why)
{
    fprintf(stderr, "denoise: %s: %s\n", what, why);
    exit(1);
}

static void check(AttuneError *error)
{
    if (error)
        fail(attune_status_name(attune_error_status(error)), attune_error_message(error));
}

static Photo photo_create(int width, int height)
{
    Photo photo = {width, height, calloc((size_t)width * (size_t)height, CHANNELS * sizeof(float))};
    if (!photo.value)
        fail("memory", "there is none left");
    return photo;
}

static size_t photo_count(const Photo *photo)
{
    return (size_t)photo->width * (size_t)photo->height * CHANNELS;
}

static Photo photo_read(const char *path)
{
    png_image png = {.version = PNG_IMAGE_VERSION};
    if (!png_image_begin_read_from_file(&png, path))
        fail(path, png.message);
    png.format = PNG_FORMAT_RGB;
    unsigned char *bytes = malloc(PNG_IMAGE_SIZE(png));
    if (!bytes || !png_image_finish_read(&png, NULL, bytes, 0, NULL))
        fail(path, bytes ? png.message : "out of memory");
    Photo photo = photo_create((int)png.width, (int)png.height);
    for (size_t k = 0; k < photo_count(&photo); k++)
        photo.value[k] = (float)bytes[k] / 255;
    free(bytes);
    return photo;
}

static void photo_write(const Photo *photo, const char *directory, const char *name)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    unsigned char *bytes = malloc(photo_count(photo));
    if (!bytes)
        fail("memory", "there is none left");
    for (size_t k = 0; k < photo_count(photo); k++)
        bytes[k] = (unsigned char)lrintf(255 * fminf(fmaxf(photo->value[k], 0), 1));
    png_image png = {.version = PNG_IMAGE_VERSION, .width = (png_uint_32)photo->width,
                     .height = (png_uint_32)photo->height, .format = PNG_FORMAT_RGB};
    if (!png_image_write_to_file(&png, path, 0, bytes, 0, NULL))
        fail(path, png.message);
    free(bytes);
    printf("wrote %s\n", path);
}

/* A uniform number in (0, 1], from a counter that is mixed. */
static double uniform(uint64_t *state)
{
    uint64_t x = *state += 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return (double)((x ^ x >> 31) >> 11) * 0x1p-53 + 0x1p-54;
}

static Photo with_noise(const Photo *clean, float sigma)
{
    Photo noisy = photo_create(clean->width, clean->height);
    uint64_t state = 2005;
    for (size_t k = 0; k < photo_count(clean); k++) {
        double radius = sqrt(-2 * log(uniform(&state)));
        noisy.value[k] = clean->value[k] + sigma * (float)(radius * cos(6.283185307179586 * uniform(&state)));
    }
    return noisy;
}

static int reflect(int at, int size) { return at < 0 ? -at : at >= size ? 2 * size - 2 - at : at; }

/* [pixels][D]: the patch around every pixel, mirrored at the edges. */
static float *patches_of(const Photo *photo)
{
    float *patches = malloc((size_t)photo->width * (size_t)photo->height * D * sizeof(float)), *to = patches;
    if (!patches)
        fail("memory", "there is none left");
    for (int y = 0; y < photo->height; y++)
        for (int x = 0; x < photo->width; x++)
            for (int dy = -PATCH / 2; dy <= PATCH / 2; dy++)
                for (int dx = -PATCH / 2; dx <= PATCH / 2; dx++, to += CHANNELS) {
                    size_t row = (size_t)reflect(y + dy, photo->height),
                           column = (size_t)reflect(x + dx, photo->width);
                    memcpy(to, photo->value + (row * (size_t)photo->width + column) * CHANNELS,
                           CHANNELS * sizeof(float));
                }
    return patches;
}

static double psnr(const Photo *a, const Photo *b)
{
    double sum = 0;
    for (size_t k = 0; k < photo_count(a); k++)
        sum += pow((double)fminf(fmaxf(a->value[k], 0), 1) - (double)b->value[k], 2);
    return -10 * log10(sum / (double)photo_count(a));
}

static double seconds(void)
{
    struct timespec t;
    timespec_get(&t, TIME_UTC);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* The whole use of Attune: a spec, a kernel for this width, a launch over the grid of pixels. */
static Photo denoise(const Photo *noisy, float sigma, const char *spec_path, bool *right)
{
    AttuneError *error = NULL;
    AttuneContext *context = attune_context_create(NULL, &error);
    check(error);
    AttuneSpec *spec = attune_spec_from_file(spec_path, NULL, &error);
    check(error);
    AttuneKernelOptions options = {.dtype = ATTUNE_F32, .d = D, .e = CHANNELS};
    AttuneKernel *kernel = attune_kernel_create(context, spec, &options, &error);
    check(error);
    AttuneKernelInfo info;
    attune_kernel_info(kernel, &info);
    printf("kernel %s for %s: ready in %.0f ms\n", info.name, info.target, info.create_ms);

    Photo after = photo_create(noisy->width, noisy->height);
    float *patches = patches_of(noisy);
    int64_t pixels = (int64_t)noisy->width * noisy->height, patch_shape[4] = {1, 1, pixels, D},
            pixel_shape[4] = {1, 1, pixels, CHANNELS};
    AttuneParam params[] = {attune_param_float("sigma", (double)sigma),
                            attune_param_float("bandwidth", 0.5 * (double)sigma)};
    AttuneLaunch launch = {
        .q = {.data = patches, .dtype = ATTUNE_F32, .ndim = 4, .shape = patch_shape},
        .k = {.data = patches, .dtype = ATTUNE_F32, .ndim = 4, .shape = patch_shape},
        .v = {.data = noisy->value, .dtype = ATTUNE_F32, .ndim = 4, .shape = pixel_shape},
        .o = {.data = after.value, .dtype = ATTUNE_F32, .ndim = 4, .shape = pixel_shape},
        .params = params, .param_count = 2,
        .m_axis = {noisy->height, noisy->width},
    };
    double begin = seconds();
    attune_kernel_launch(kernel, &launch, &error);
    check(error);
    printf("%lld pixels denoised in %.0f ms on %d threads\n", (long long)pixels, 1e3 * (seconds() - begin),
           attune_context_threads(context));

    AttuneCheck result;
    attune_check(spec, &options, &launch, 499, &result, &error);
    check(error);
    printf("%lld values against the double-precision reference: max error %.2e (limit %.2e), rms %.2e (limit "
           "%.2e): %s\n",
           (long long)result.values, result.max_error, result.max_limit, result.rms_error, result.rms_limit,
           result.passed ? "right" : "WRONG");
    *right = result.passed;
    free(patches);
    attune_kernel_destroy(kernel);
    attune_spec_destroy(spec);
    attune_context_destroy(context);
    return after;
}

int main(int argc, char **argv)
{
    const char *path = argc > 1 ? argv[1] : DENOISE_DIRECTORY "/cat.png",
               *directory = argc > 2 ? argv[2] : ".";
    float sigma = argc > 3 ? strtof(argv[3], NULL) / 255 : 25.0f / 255;
    if (argc > 4 || !(sigma > 0 && sigma < 1))
        fail("usage", "denoise [PHOTO.png [DIRECTORY [SIGMA]]], with SIGMA between 0 and 255");
    Photo clean = photo_read(path), noisy = with_noise(&clean, sigma);
    printf("%s: %d x %d pixels, noise of sigma %.1f of 255\n", path, clean.width, clean.height,
           255 * (double)sigma);
    if (clean.width < PATCH || clean.height < PATCH)
        fail(path, "is smaller than a patch");
    bool right = false;
    Photo after = denoise(&noisy, sigma, DENOISE_DIRECTORY "/denoise.attn", &right);
    Photo difference = photo_create(clean.width, clean.height);
    for (size_t k = 0; k < photo_count(&clean); k++)
        difference.value[k] = 0.5f + noisy.value[k] - after.value[k];
    double before = psnr(&noisy, &clean), gained = psnr(&after, &clean) - before;
    printf("PSNR %.2f dB before, %.2f dB after: %.2f dB gained\n", before, before + gained, gained);
    photo_write(&noisy, directory, "before.png");
    photo_write(&after, directory, "after.png");
    photo_write(&difference, directory, "difference.png");
    free(clean.value);
    free(noisy.value);
    free(after.value);
    free(difference.value);
    return right && gained > 5 ? 0 : 1;
}
