/* Tensors as .npy files, format versions 1 to 3. */
#ifndef ATTUNE_CLI_NPY_H
#define ATTUNE_CLI_NPY_H

#include "runtime/attune.h"

enum { NPY_MAX_DIMS = 8, NPY_MAX_HEADER = 1 << 20 };

typedef struct NpyArray {
    AttuneDtype dtype;
    int ndim;
    int64_t shape[NPY_MAX_DIMS];
    int64_t count;   /* of elements: the product of the shape */
    void *data;      /* row-major, this machine's byte order; free it */
} NpyArray;

/* Reads a whole array. Elements may be f2 f4 f8 (becomes f32), i1 i2 u1 u2 (become i32), i4 u4 (becomes i64)
 * i8, b1, and two-byte raw elements, which are taken as bf16; either byte order; row- or column-major. False
 * with a message that names the file in `why`. */
bool npy_read(const char *path, NpyArray *array, char *why, size_t why_size);
/* The same of bytes in memory; `name` is for messages. */
bool npy_parse(const char *name, const unsigned char *bytes, size_t size, NpyArray *array, char *why,
               size_t why_size);
/* Writes version 1.0, row-major; bf16 as two-byte raw elements. Through a temporary file, so that no half
 * file stays. */
bool npy_write(const char *path, AttuneDtype dtype, int ndim, const int64_t *shape, const void *data,
               char *why, size_t why_size);

/* Numbers of one type as another of the same kind (floats, or ints and bools); false when there is no such
 * conversion. Rounds to nearest even. `from` and `to` may not overlap. */
bool npy_convert(const void *from, AttuneDtype from_dtype, void *to, AttuneDtype to_dtype, int64_t count);

#endif
