/* Attune: attention variants, written as mathematics, compiled to fast kernels. The one public header.
 *
 *     AttuneError *error = NULL;
 *     AttuneContext *context = attune_context_create(NULL, &error);
 *     AttuneSpec *spec = attune_spec_from_file("causal.attn", NULL, &error);
 *     AttuneKernel *kernel = attune_kernel_create(context, spec,
 *         &(AttuneKernelOptions){.target = "cpu", .dtype = ATTUNE_F32, .d = 64}, &error);
 *     int64_t shape[4] = {B, H, M, 64};
 *     AttuneLaunch launch = {.q = {.data = q, .dtype = ATTUNE_F32, .ndim = 4, .shape = shape}, ...};
 *     if (attune_kernel_launch(kernel, &launch, &error) != ATTUNE_OK) puts(attune_error_message(error));
 *
 * Rules that hold throughout
 * - Options and argument structs are filled with zeros first; zero always means the default. A NULL options
 *   pointer means all defaults.
 * - A function that can fail takes `AttuneError **error`, last. On failure it returns NULL or a status other
 *   than ATTUNE_OK and, when `error` is not NULL, stores an error value there that the caller frees with
 *   attune_error_free. On success *error is left alone. Nothing exits, aborts or prints.
 * - There is no global state. A context, a spec, a kernel and a plan may be used by several threads at once;
 *   destroying one while it is used is an error of the caller. A kernel or plan keeps its context's pool
 *   alive: the context may be destroyed first.
 * - Strings and arrays that are passed in are copied, or read only during the call. Strings that come back
 *   belong to the object asked and live as long as it.
 * - Sizes and strides are counted in elements, never in bytes. Positions are below 2^30 an axis; addresses
 *   are 64-bit throughout, so tensors may exceed 2^31 elements.
 * - After fork() a child may go on launching kernels that it inherited (on the calling thread only), provided
 *   that no other thread was inside the library at the fork; it should make its own context for the rest. */
#ifndef ATTUNE_H
#define ATTUNE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define ATTUNE_API __attribute__((visibility("default")))
#else
#define ATTUNE_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define ATTUNE_VERSION_MAJOR 0
#define ATTUNE_VERSION_MINOR 1
#define ATTUNE_VERSION_PATCH 0

enum { ATTUNE_MAX_DIMS = 6, ATTUNE_MAX_RANK = 3, ATTUNE_MAX_INPUTS = 32, ATTUNE_MAX_PARAMS = 32 };

/* major * 10000 + minor * 100 + patch, of the library that is linked. */
ATTUNE_API int attune_version(void);
/* "0.1.0". attune_build_info adds the back ends: "attune 0.1.0 (LLVM 22.1.8)". */
ATTUNE_API const char *attune_version_string(void);
ATTUNE_API const char *attune_build_info(void);

/* Errors ------------------------------------------------------------------------------------------------ */

typedef enum AttuneStatus {
    ATTUNE_OK = 0,
    ATTUNE_ERROR_ARGUMENT, /* an argument of a call is wrong: the message names it, its value and the limit */
    ATTUNE_ERROR_SPEC,     /* the spec text has errors: the message holds them all, with places */
    ATTUNE_ERROR_COMPILE,  /* the spec is right but cannot be compiled as asked */
    ATTUNE_ERROR_TARGET,   /* unknown target, or one that this build or machine lacks */
    ATTUNE_ERROR_NO_JIT,   /* the context forbids compiling and the cache does not hold the kernel */
    ATTUNE_ERROR_IO,       /* a file cannot be read or written */
    ATTUNE_ERROR_MEMORY,   /* out of memory */
    ATTUNE_ERROR_INTERNAL, /* a fault of Attune: please report it */
    ATTUNE_STATUS_COUNT
} AttuneStatus;
/* "ok", "argument", "spec", ...; "unknown" for anything else. */
ATTUNE_API const char *attune_status_name(AttuneStatus status);

typedef struct AttuneError AttuneError;
ATTUNE_API AttuneStatus attune_error_status(const AttuneError *error);      /* NULL: ATTUNE_OK */
/* Text for people, without a final newline; ATTUNE_ERROR_SPEC: the messages as file:line:col with carets. */
ATTUNE_API const char *attune_error_message(const AttuneError *error);      /* NULL: "" */
/* ATTUNE_ERROR_SPEC, _COMPILE: the same messages as a JSON array for editors; else NULL. */
ATTUNE_API const char *attune_error_json(const AttuneError *error);
ATTUNE_API void attune_error_free(AttuneError *error);                      /* NULL is allowed */

/* Element types and tensors ----------------------------------------------------------------------------- */

typedef enum AttuneDtype {
    ATTUNE_DTYPE_NONE = 0,
    ATTUNE_F32,
    ATTUNE_BF16,
    ATTUNE_F16,
    ATTUNE_I32,
    ATTUNE_I64,
    ATTUNE_BOOL, /* one byte, 0 or 1 */
    ATTUNE_DTYPE_COUNT
} AttuneDtype;
ATTUNE_API const char *attune_dtype_name(AttuneDtype dtype); /* "f32" ...; "none" for anything else */
/* Also fp32, float32, bfloat16, half, float16, int32, int64, ...; ATTUNE_DTYPE_NONE when unknown. */
ATTUNE_API AttuneDtype attune_dtype_parse(const char *name);
ATTUNE_API int64_t attune_dtype_size(AttuneDtype dtype);     /* bytes an element */

/* Where a tensor's memory is. */
typedef enum AttuneDeviceKind { ATTUNE_DEVICE_HOST = 0, ATTUNE_DEVICE_CUDA = 1 } AttuneDeviceKind;
typedef struct AttuneDevice {
    AttuneDeviceKind kind;
    int32_t index;
} AttuneDevice;

/* A view of memory that the caller owns. */
typedef struct AttuneTensor {
    void *data;             /* first element; may be NULL only when the tensor has no element */
    AttuneDtype dtype;
    int32_t ndim;
    const int64_t *shape;   /* [ndim] */
    const int64_t *strides; /* [ndim], in elements; NULL: dense, row-major. Last: 1 for q, k, v, o */
    AttuneDevice device;
} AttuneTensor;

/* DLPack. `dl_tensor` is a DLTensor *, `managed` a DLManagedTensorVersioned * (DLPack 1.x). The view borrows
 * shape and strides from it; ownership does not move. Fails for other devices, lanes != 1, unknown dtypes and
 * major versions. */
ATTUNE_API AttuneStatus attune_tensor_from_dlpack(const void *dl_tensor, AttuneTensor *tensor,
                                                  AttuneError **error);
ATTUNE_API AttuneStatus attune_tensor_from_dlpack_versioned(const void *managed, AttuneTensor *tensor,
                                                            AttuneError **error);

/* Contexts ---------------------------------------------------------------------------------------------- */

typedef enum AttuneCacheMode {
    ATTUNE_CACHE_DEFAULT = 0, /* $ATTUNE_CACHE (on, read-only, off), else on */
    ATTUNE_CACHE_ON,
    ATTUNE_CACHE_READ_ONLY,   /* searched, never written */
    ATTUNE_CACHE_OFF
} AttuneCacheMode;

typedef enum AttuneLogLevel {
    ATTUNE_LOG_DEBUG,   /* cache hits and misses, with keys */
    ATTUNE_LOG_INFO,    /* what is compiled, how long it took; progress once it takes more than a second */
    ATTUNE_LOG_WARNING  /* an unusable cache directory, a corrupt entry */
} AttuneLogLevel;
/* Called from any thread that uses the context, one call at a time. `text` has no newline. */
typedef void (*AttuneLog)(void *user, AttuneLogLevel level, const char *text);

typedef struct AttuneContextOptions {
    int32_t threads;              /* of the CPU pool, callers included; 0: $ATTUNE_THREADS, else all cores */
    AttuneCacheMode cache_mode;
    const char *cache_dir;        /* NULL: $ATTUNE_CACHE_DIR, $XDG_CACHE_HOME/attune, ~/.cache/attune */
    const char *const *cache_read_dirs; /* more directories to search, never written */
    int32_t cache_read_dir_count;
    int64_t cache_limit_bytes;    /* of cache_dir, least recently used entries go first; 0: 1 GiB */
    bool no_jit;                  /* or $ATTUNE_NO_JIT=1: never compile, fail with ATTUNE_ERROR_NO_JIT */
    AttuneLog log;                /* NULL: silence */
    void *log_user;
} AttuneContextOptions;

typedef struct AttuneContext AttuneContext;
ATTUNE_API AttuneContext *attune_context_create(const AttuneContextOptions *options, AttuneError **error);
/* NULL is allowed. Memory and threads go when the last kernel and plan of the context are gone too. */
ATTUNE_API void attune_context_destroy(AttuneContext *context);
ATTUNE_API int32_t attune_context_threads(const AttuneContext *context);

/* Specs ------------------------------------------------------------------------------------------------- */

/* A value for a param or a schedule key, as text in the language: {"window", "512"}, {"kernel", "(7, 7)"}. */
typedef struct AttuneSetting {
    const char *name, *value;
} AttuneSetting;

typedef struct AttuneSpecOptions {
    const char *name;                     /* which attention of the file; NULL: its only one */
    const AttuneSetting *settings;        /* params (const or not: new defaults) and schedule keys */
    int32_t setting_count;
    const char *const *import_dirs;       /* where imports are sought, after the importing file's folder */
    int32_t import_dir_count;
    const char *source_name;              /* _from_text: what messages call the text; NULL: "<text>" */
} AttuneSpecOptions;

typedef struct AttuneSpec AttuneSpec;
/* ATTUNE_ERROR_IO, _SPEC, _ARGUMENT, _MEMORY. Text of _from_text: `length` bytes, need not end in NUL; it can
 * import only the language's own library unless import_dirs are given. */
ATTUNE_API AttuneSpec *attune_spec_from_file(const char *path, const AttuneSpecOptions *options,
                                             AttuneError **error);
ATTUNE_API AttuneSpec *attune_spec_from_text(const char *text, size_t length,
                                             const AttuneSpecOptions *options, AttuneError **error);
ATTUNE_API void attune_spec_destroy(AttuneSpec *spec); /* NULL is allowed; kernels made from it live on */

typedef enum AttuneDimKind {
    ATTUNE_DIM_B,      /* batch */
    ATTUNE_DIM_H,      /* query heads */
    ATTUNE_DIM_G,      /* key heads */
    ATTUNE_DIM_T,      /* tokens by position: at least max(N, offset + M) */
    ATTUNE_DIM_I,      /* query rows: M */
    ATTUNE_DIM_J,      /* keys: N */
    ATTUNE_DIM_D,      /* width of q and k */
    ATTUNE_DIM_E,      /* width of v and o */
    ATTUNE_DIM_EXTENT, /* computed from params and sizes */
    ATTUNE_DIM_FREE    /* whatever the tensor has; dims of the same name must agree */
} AttuneDimKind;
typedef struct AttuneDim {
    AttuneDimKind kind;
    const char *name; /* as written in the spec */
} AttuneDim;
typedef struct AttuneInputInfo {
    const char *name;
    AttuneDtype dtype;
    bool learned;
    int32_t ndim;
    AttuneDim dims[ATTUNE_MAX_DIMS];
} AttuneInputInfo;

typedef enum AttuneParamType { ATTUNE_PARAM_INT = 1, ATTUNE_PARAM_FLOAT, ATTUNE_PARAM_BOOL } AttuneParamType;
typedef struct AttuneParam {
    const char *name;
    AttuneParamType type;
    int64_t i;        /* INT; BOOL: 0 or 1 */
    double f;         /* FLOAT */
} AttuneParam;
static inline AttuneParam attune_param_int(const char *name, int64_t value)
{
    AttuneParam param = {name, ATTUNE_PARAM_INT, value, 0};
    return param;
}
static inline AttuneParam attune_param_float(const char *name, double value)
{
    AttuneParam param = {name, ATTUNE_PARAM_FLOAT, 0, value};
    return param;
}
static inline AttuneParam attune_param_bool(const char *name, bool value)
{
    AttuneParam param = {name, ATTUNE_PARAM_BOOL, value, 0};
    return param;
}
typedef struct AttuneParamInfo {
    AttuneParam value; /* name, type, default */
    bool constant;     /* `param const`: set when the spec or kernel is made, not at launch */
    bool has_default;  /* without one every launch must give it */
} AttuneParamInfo;

/* Everything that a host must provide. Arrays belong to the spec. */
typedef struct AttuneSpecInfo {
    const char *name;
    int32_t rank;                      /* of the index space: 1, 2 or 3 */
    const char *axis_names[ATTUNE_MAX_RANK];
    const AttuneInputInfo *inputs;
    int32_t input_count;
    const AttuneParamInfo *params;     /* vectors are split: "kernel.y", "kernel.x" */
    int32_t param_count;
    const char *const *returns;        /* "lse", ... */
    int32_t return_count;
    const char *warnings;              /* of the front end, as text; "" when there are none */
    const char *canonical;             /* equal mathematics, equal text */
    const char *digest;                /* SHA-256 of it, in hexadecimal */
} AttuneSpecInfo;
ATTUNE_API void attune_spec_info(const AttuneSpec *spec, AttuneSpecInfo *info);

/* Sizes of a launch: rank 1 leaves the axes zero. */
typedef struct AttuneSizes {
    int64_t b, h, g, m, n, d, e, offset;
    int64_t m_axis[ATTUNE_MAX_RANK], n_axis[ATTUNE_MAX_RANK];
} AttuneSizes;
/* The least shape of input `index` for a launch of these sizes. `params` overrides defaults and gives the
 * extents of free dims by the dim's name (attune_param_int("r", 64)); a free dim that is not given gets 1. */
ATTUNE_API AttuneStatus attune_spec_input_shape(const AttuneSpec *spec, int32_t index,
                                                const AttuneSizes *sizes, const AttuneParam *params,
                                                int32_t param_count, int64_t shape[ATTUNE_MAX_DIMS],
                                                AttuneError **error);

/* Kernels ----------------------------------------------------------------------------------------------- */

typedef struct AttuneKernelOptions {
    const char *target;            /* NULL: "cpu" (this machine); "cpu:x86-64-v3", "interp", ... */
    AttuneDtype dtype;             /* of q, k, v, o: ATTUNE_F32 (default), ATTUNE_BF16, ATTUNE_F16 */
    int64_t d, e;                  /* width of q and k (needed), of v and o (0: as d) */
    const AttuneSetting *settings; /* params and schedule keys, on top of the spec's own */
    int32_t setting_count;
    const char *dump;              /* letters of the passes to print to the log (INFO); NULL: none */
} AttuneKernelOptions;

typedef struct AttuneKernel AttuneKernel;
/* Looks in the context's memory, then in its cache directories, then compiles (once, even when several
 * threads or processes ask at the same time). All lengths, strides and head counts are run-time values: one
 * kernel serves every launch of this dtype and these widths. Errors: all statuses. */
ATTUNE_API AttuneKernel *attune_kernel_create(AttuneContext *context, const AttuneSpec *spec,
                                              const AttuneKernelOptions *options, AttuneError **error);
ATTUNE_API void attune_kernel_destroy(AttuneKernel *kernel); /* NULL is allowed */

typedef enum AttuneOrigin {
    ATTUNE_FROM_MEMORY,
    ATTUNE_FROM_DISK,
    ATTUNE_FROM_COMPILER,
    ATTUNE_FROM_BUILD
} AttuneOrigin;
typedef struct AttuneKernelInfo {
    const char *name, *target;  /* target in full: "cpu:znver4+..." */
    AttuneDeviceKind device;    /* where its tensors must be */
    AttuneDtype dtype;
    int64_t d, e;
    int32_t phase_count;
    int64_t block_m[ATTUNE_MAX_RANK], block_n[ATTUNE_MAX_RANK];
    int64_t scratch_bytes;      /* per thread */
    size_t code_bytes;
    int64_t state_rows, state_columns; /* of the state that launches hand over; 0: this kernel has none */
    const char *key;            /* cache key in hexadecimal; "" for ahead-of-time kernels */
    AttuneOrigin origin;        /* where the first request of this context found it */
    double create_ms;           /* what that took */
} AttuneKernelInfo;
ATTUNE_API void attune_kernel_info(const AttuneKernel *kernel, AttuneKernelInfo *info);
/* As attune_spec_input_shape. */
ATTUNE_API AttuneStatus attune_kernel_input_shape(const AttuneKernel *kernel, int32_t index,
                                                  const AttuneSizes *sizes, const AttuneParam *params,
                                                  int32_t param_count, int64_t shape[ATTUNE_MAX_DIMS],
                                                  AttuneError **error);

/* Launches ---------------------------------------------------------------------------------------------- */

typedef enum AttuneLayout {
    ATTUNE_BHMD = 0, /* q [B, H, M, D]  k [B, G, N, D]  v [B, G, N, E]  o [B, H, M, E] */
    ATTUNE_BMHD      /* q [B, M, H, D]  k [B, N, G, D]  v [B, N, G, E]  o [B, M, H, E] */
} AttuneLayout;

/* Which key the last query lines up with: sets `offset`, the position of query row 0. */
typedef enum AttuneAlign {
    ATTUNE_ALIGN_OFFSET = 0,  /* offset as given; 0 lines up the first query with the first key (top-left) */
    ATTUNE_ALIGN_BOTTOM_RIGHT /* offset = N - M: the last query lines up with the last key, as in decoding */
} AttuneAlign;

typedef struct AttuneNamedTensor {
    const char *name;
    AttuneTensor tensor;
} AttuneNamedTensor;

/* Ragged batches: cu_seqlens_q and cu_seqlens_k are host arrays of `sequences` + 1 rising cumulative lengths
 * from 0; q, k, v, o then hold the rows of all sequences after one another: [1, H, total, D] or, without the
 * batch dim, [H, total, D] (BHMD); [1, total, H, D] or [total, H, D] (BMHD). B is the number of sequences. */
typedef struct AttuneLaunch {
    AttuneLayout layout;
    AttuneTensor q, k, v, o;           /* o is written and must not overlap anything that is read */
    const AttuneNamedTensor *inputs;   /* every input of the spec, in any order, shapes as its dims say */
    int32_t input_count;
    const AttuneNamedTensor *returns;  /* any of the spec's returns: f32 [B, H, M] (ragged: [H, total]) */
    int32_t return_count;
    const AttuneParam *params;         /* values for this launch; the rest keep their defaults */
    int32_t param_count;
    const int32_t *cu_seqlens_q, *cu_seqlens_k;
    int32_t sequences;
    AttuneAlign align;
    int64_t offset;                    /* position of query row 0; rank 1 only */
    int64_t m_axis[ATTUNE_MAX_RANK];   /* rank 2, 3: extents of the query grid, outermost first; product M */
    int64_t n_axis[ATTUNE_MAX_RANK];   /* of the key grid; all zero: as m_axis. Product N */
    void *stream;                      /* CUDA: the CUstream to run in, NULL the default one; host: ignored */
    /* Linear attention in chunks or token by token: f32 [B, H, state_rows, state_columns] (AttuneKernelInfo), dense in
     * the last dimension; ragged: one a sequence. state_out gets what continues after the last token. With state_in the
     * launch goes on from there: row 0 of q and of k, and index 0 of inputs by token, are at position `offset`. The two
     * may be the same memory. Zeros: from an empty state; the state is dropped. */
    AttuneTensor state_in, state_out;
} AttuneLaunch;

/* Checks every argument, then runs; host targets have finished when it returns. ATTUNE_ERROR_ARGUMENT:
 * nothing ran and nothing was written. B, H, M or N of 0 are allowed. Rows that see no key give o = 0 and
 * lse = -inf. */
ATTUNE_API AttuneStatus attune_kernel_launch(AttuneKernel *kernel, const AttuneLaunch *launch,
                                             AttuneError **error);

/* A launch that is checked once and run often with other addresses of the same shapes and strides. */
typedef struct AttunePlan AttunePlan;
/* Data pointers in `launch` may be NULL here, except those of cu_seqlens (copied). */
ATTUNE_API AttunePlan *attune_plan_create(AttuneKernel *kernel, const AttuneLaunch *launch,
                                          AttuneError **error);
typedef struct AttunePlanData {
    const void *q, *k, *v;
    void *o;
    const void *const *inputs;  /* in the order of the plan's launch */
    void *const *returns;       /* likewise */
    void *stream;
    const void *state_in;       /* where the plan's launch has them */
    void *state_out;
} AttunePlanData;
/* Checks only alignment and NULL. */
ATTUNE_API AttuneStatus attune_plan_launch(AttunePlan *plan, const AttunePlanData *data, AttuneError **error);
ATTUNE_API void attune_plan_destroy(AttunePlan *plan); /* NULL is allowed */

/* The reference ----------------------------------------------------------------------------------------- */

/* The same launch in double precision, row by row, without the compiler: slow and certain. Host tensors only;
 * launch->o is checked but not written. o [B, H, M, E] (ragged [1, H, total, E]) and lse [B, H, M] are dense
 * arrays of the caller, either may be NULL. Only every `rows`-th query row is computed (0, 1: all), others
 * are left alone. */
ATTUNE_API AttuneStatus attune_reference(const AttuneSpec *spec, const AttuneKernelOptions *options,
                                         const AttuneLaunch *launch, int64_t rows, double *o, double *lse,
                                         AttuneError **error);

/* How far the o (and lse, when the launch returns it) that a launch has written are from the reference,
 * beside what a plain run of the same mathematics in the same element type reaches. */
typedef struct AttuneCheck {
    double max_error, rms_error;        /* of launch->o against double */
    double plain_max, plain_rms;        /* of the plain run */
    double max_limit, rms_limit;        /* 2 * plain_max, 1.1 * plain_rms, plus a last-digit allowance */
    double lse_error;                   /* absolute, 0 when not returned */
    int64_t values;                     /* compared */
    int64_t wrong_empty_rows;           /* rows without a key that are not exactly 0 / -inf, and stray NaNs */
    bool passed;
} AttuneCheck;
ATTUNE_API AttuneStatus attune_check(const AttuneSpec *spec, const AttuneKernelOptions *options,
                                     const AttuneLaunch *launch, int64_t rows, AttuneCheck *check,
                                     AttuneError **error);

/* Kernels built ahead of time --------------------------------------------------------------------------- */

typedef struct AttuneBuildOptions {
    AttuneKernelOptions kernel; /* target "cpu:x86-64-v3", "cpu:aarch64", ...: not interp */
    const char *symbol;         /* prefix of every symbol and type; a C identifier. NULL: the spec's name */
} AttuneBuildOptions;
/* NAME.o holds the code; NAME.h a typed entry `NAME_run`; both need only this header and libattune_rt
 * (threads, checks; neither compiler nor LLVM). NAME.json says what was built. */
typedef struct AttuneBuild {
    void *object;
    size_t object_size;
    char *header, *manifest;
} AttuneBuild;
ATTUNE_API AttuneBuild *attune_build(const AttuneSpec *spec, const AttuneBuildOptions *options,
                                     AttuneError **error);
ATTUNE_API void attune_build_free(AttuneBuild *build); /* NULL is allowed */

/* What a generated header hands over; not meant to be written by hand. */
typedef void (*AttunePhase)(const int64_t *slots, int64_t begin, int64_t end, void *scratch);
typedef struct AttuneBuilt {
    const unsigned char *description;
    size_t description_size;
    const AttunePhase *phases;    /* host kernels; NULL with an image */
    int32_t phase_count;
    const void *image;            /* device kernels: what the driver loads; must stay */
    size_t image_size;
} AttuneBuilt;
ATTUNE_API AttuneKernel *attune_kernel_from_built(AttuneContext *context, const AttuneBuilt *built,
                                                  AttuneError **error);

/* The disk cache, for tools ----------------------------------------------------------------------------- */

typedef struct AttuneCacheEntry {
    const char *key;       /* hexadecimal */
    const char *name, *target;
    AttuneDtype dtype;
    int64_t d, e;
    int64_t bytes;         /* of the file */
    int64_t used;          /* seconds since 1970: last hit */
    bool valid; /* attune_cache_verify: header, length and SHA-256 are right; _list: the header is */
} AttuneCacheEntry;
typedef void (*AttuneCacheVisit)(void *user, const AttuneCacheEntry *entry);
/* The directory that the context writes to (or searches, when read-only); NULL when the cache is off. */
ATTUNE_API const char *attune_cache_dir(AttuneContext *context);
ATTUNE_API AttuneStatus attune_cache_list(AttuneContext *context, AttuneCacheVisit visit, void *user,
                                          AttuneError **error);
/* Reads every entry in full; visits all, deletes the damaged ones unless the cache is read-only. */
ATTUNE_API AttuneStatus attune_cache_verify(AttuneContext *context, AttuneCacheVisit visit, void *user,
                                            AttuneError **error);
/* Deletes entries until the directory holds at most keep_bytes (0: all); *removed (may be NULL) counts them.
 */
ATTUNE_API AttuneStatus attune_cache_clear(AttuneContext *context, int64_t keep_bytes, int64_t *removed,
                                           AttuneError **error);

#ifdef __cplusplus
}
#endif

#endif
