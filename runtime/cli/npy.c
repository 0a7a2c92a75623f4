/* Reading and writing .npy: six magic bytes, a version, the length of a header, the header (a Python dict in
 * text with descr, fortran_order, shape), then the elements. Nothing in a file is trusted: lengths are
 * checked before use, and memory is taken only as bytes arrive. */
#include "runtime/cli/npy.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Where a message goes. */
typedef struct Complaint {
    const char *name;
    char *text;
    size_t size;
} Complaint;

static bool complain(const Complaint *complaint, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static bool complain(const Complaint *complaint, const char *format, ...)
{
    int length = snprintf(complaint->text, complaint->size, "%s: ", complaint->name);
    if (length < 0 || (size_t)length >= complaint->size)
        return false;
    va_list list;
    va_start(list, format);
    vsnprintf(complaint->text + length, complaint->size - (size_t)length, format, list);
    va_end(list);
    return false;
}

/* The header --------------------------------------------------------------------------------------------- */

typedef struct Header {
    char descr[16];
    bool has_descr, has_order, has_shape, fortran;
    int ndim;
    int64_t shape[NPY_MAX_DIMS];
} Header;

typedef struct Scan {
    const char *at, *end;
    const Complaint *complaint;
} Scan;

static char peek(Scan *scan)
{
    while (scan->at < scan->end && isspace((unsigned char)*scan->at))
        scan->at++;
    return scan->at < scan->end ? *scan->at : '\0';
}

static bool expect(Scan *scan, char c)
{
    if (peek(scan) != c)
        return complain(scan->complaint, "the header is malformed: expected '%c'", c);
    scan->at++;
    return true;
}

static bool scan_string(Scan *scan, char *text, size_t size)
{
    char quote = peek(scan);
    if (quote != '\'' && quote != '"')
        return complain(scan->complaint, "the header is malformed: expected a quoted word");
    const char *begin = ++scan->at;
    while (scan->at < scan->end && *scan->at != quote)
        scan->at++;
    size_t length = (size_t)(scan->at - begin);
    if (scan->at == scan->end || length >= size)
        return complain(scan->complaint, "the header is malformed: a quoted word does not end");
    memcpy(text, begin, length);
    text[length] = '\0';
    scan->at++;
    return true;
}

static bool scan_boolean(Scan *scan, bool *value)
{
    peek(scan);
    size_t left = (size_t)(scan->end - scan->at);
    if (left >= 4 && memcmp(scan->at, "True", 4) == 0) {
        *value = true;
        scan->at += 4;
        return true;
    }
    if (left >= 5 && memcmp(scan->at, "False", 5) == 0) {
        *value = false;
        scan->at += 5;
        return true;
    }
    return complain(scan->complaint, "the header is malformed: fortran_order is neither True nor False");
}

static bool scan_shape(Scan *scan, Header *header)
{
    if (!expect(scan, '('))
        return false;
    header->ndim = 0;
    while (peek(scan) != ')') {
        if (!isdigit((unsigned char)peek(scan)))
            return complain(scan->complaint, "the header is malformed: expected a size in the shape");
        int64_t size = 0;
        for (; scan->at < scan->end && isdigit((unsigned char)*scan->at); scan->at++)
            if (__builtin_mul_overflow(size, 10, &size) ||
                __builtin_add_overflow(size, *scan->at - '0', &size))
                return complain(scan->complaint, "a size in the shape is too large");
        if (scan->at < scan->end && *scan->at == 'L') /* as Python 2 wrote them */
            scan->at++;
        if (header->ndim == NPY_MAX_DIMS)
            return complain(scan->complaint, "the array has more than %d dimensions", NPY_MAX_DIMS);
        header->shape[header->ndim++] = size;
        if (peek(scan) == ',')
            scan->at++;
        else if (peek(scan) != ')')
            return complain(scan->complaint, "the header is malformed: expected ',' or ')' in the shape");
    }
    scan->at++;
    return true;
}

static bool scan_entry(Scan *scan, Header *header)
{
    char key[16];
    if (!scan_string(scan, key, sizeof key) || !expect(scan, ':'))
        return false;
    if (strcmp(key, "descr") == 0) {
        header->has_descr = true;
        if (peek(scan) == '[')
            return complain(scan->complaint, "arrays of records are not supported");
        return scan_string(scan, header->descr, sizeof header->descr);
    }
    if (strcmp(key, "fortran_order") == 0) {
        header->has_order = true;
        return scan_boolean(scan, &header->fortran);
    }
    if (strcmp(key, "shape") == 0) {
        header->has_shape = true;
        return scan_shape(scan, header);
    }
    return complain(scan->complaint, "the header has an unknown key '%s'", key);
}

static bool header_parse(const Complaint *complaint, const char *text, size_t length, Header *header)
{
    Scan scan = {text, text + length, complaint};
    if (!expect(&scan, '{'))
        return false;
    while (peek(&scan) != '}') {
        if (!scan_entry(&scan, header))
            return false;
        if (peek(&scan) == ',')
            scan.at++;
        else if (peek(&scan) != '}')
            return complain(complaint, "the header is malformed: expected ',' or '}'");
    }
    if (!header->has_descr || !header->has_order || !header->has_shape)
        return complain(complaint, "the header lacks %s", !header->has_descr ? "descr"
                                                          : !header->has_order ? "fortran_order" : "shape");
    return true;
}

/* Elements ----------------------------------------------------------------------------------------------- */

/* How elements are stored in the file, and what they become. */
typedef struct Storage {
    const char *code; /* descr without the byte order */
    int size;
    AttuneDtype dtype;
} Storage;

static const Storage storages[] = {
    {"f4", 4, ATTUNE_F32}, {"f2", 2, ATTUNE_F16}, {"V2", 2, ATTUNE_BF16}, {"f8", 8, ATTUNE_F32},
    {"i4", 4, ATTUNE_I32}, {"i8", 8, ATTUNE_I64}, {"b1", 1, ATTUNE_BOOL}, {"i1", 1, ATTUNE_I32},
    {"u1", 1, ATTUNE_I32}, {"i2", 2, ATTUNE_I32}, {"u2", 2, ATTUNE_I32},  {"u4", 4, ATTUNE_I64},
};
enum { STORAGE_COUNT = sizeof storages / sizeof storages[0] };

static const Storage *storage_find(const Complaint *complaint, const char *descr, bool *swapped)
{
    *swapped = descr[0] == '>';
    if (descr[0] != '\0' && strchr("<>|=", descr[0]))
        for (int k = 0; k < STORAGE_COUNT; k++)
            if (strcmp(descr + 1, storages[k].code) == 0)
                return &storages[k];
    complain(complaint,
             "elements of type '%s' are not supported (f2 f4 f8 i1 i2 i4 i8 u1 u2 u4 b1 and V2 for bf16 are)",
             descr);
    return NULL;
}

/* One element from the file into its place. */
static void element_read(const Storage *storage, const unsigned char *from, bool swapped, unsigned char *to)
{
    unsigned char bytes[8];
    for (int k = 0; k < storage->size; k++)
        bytes[k] = from[swapped ? storage->size - 1 - k : k];
    char kind = storage->code[0];
    if (kind == 'f' && storage->size == 8) {
        double wide;
        memcpy(&wide, bytes, 8);
        float narrow = (float)wide;
        memcpy(to, &narrow, 4);
    } else if (kind == 'b') {
        *to = bytes[0] != 0;
    } else if (storage->dtype == ATTUNE_I32 && storage->size < 4) {
        int32_t value = storage->size == 1 ? bytes[0] : bytes[0] | bytes[1] << 8;
        if (kind == 'i')
            value = storage->size == 1 ? (int8_t)value : (int16_t)value;
        memcpy(to, &value, 4);
    } else if (kind == 'u') {
        uint32_t value;
        memcpy(&value, bytes, 4);
        int64_t wide = value;
        memcpy(to, &wide, 8);
    } else {
        memcpy(to, bytes, (size_t)storage->size);
    }
}

/* Elements in row-major order of a file in column-major order: `index` counts the former. */
static int64_t fortran_position(const NpyArray *array, int64_t index)
{
    int64_t coordinate[NPY_MAX_DIMS], position = 0;
    for (int d = array->ndim - 1; d >= 0; d--) {
        coordinate[d] = index % array->shape[d];
        index /= array->shape[d];
    }
    for (int d = array->ndim - 1; d >= 0; d--)
        position = position * array->shape[d] + coordinate[d];
    return position;
}

static bool elements_read(const Complaint *complaint, const Storage *storage, bool swapped, bool fortran,
                          const unsigned char *bytes, NpyArray *array)
{
    int64_t size = attune_dtype_size(storage->dtype);
    array->data = malloc((size_t)(array->count > 0 ? array->count * size : 1));
    if (!array->data)
        return complain(complaint, "out of memory for %lld elements", (long long)array->count);
    unsigned char *to = array->data;
    if (!swapped && !fortran && storage->size == size && storage->dtype != ATTUNE_BOOL) {
        if (array->count > 0)
            memcpy(to, bytes, (size_t)(array->count * size));
        return true;
    }
    for (int64_t k = 0; k < array->count; k++) {
        int64_t position = fortran ? fortran_position(array, k) : k;
        element_read(storage, bytes + position * storage->size, swapped, to + k * size);
    }
    return true;
}

/* Number of elements, and of bytes in the file; false when they exceed what an int64_t counts. */
static bool count_elements(const Header *header, int element_size, int64_t *count, int64_t *bytes)
{
    *count = 1;
    bool empty = false, overflow = false;
    for (int d = 0; d < header->ndim; d++) {
        empty = empty || header->shape[d] == 0;
        overflow = overflow || __builtin_mul_overflow(*count, header->shape[d], count);
    }
    if (empty) {
        *count = *bytes = 0;
        return true;
    }
    return !overflow && !__builtin_mul_overflow(*count, 8, bytes) &&
           !__builtin_mul_overflow(*count, element_size, bytes);
}

bool npy_parse(const char *name, const unsigned char *bytes, size_t size, NpyArray *array, char *why,
               size_t why_size)
{
    Complaint complaint = {name, why, why_size};
    memset(array, 0, sizeof *array);
    if (size < 10 || memcmp(bytes, "\x93NUMPY", 6) != 0)
        return complain(&complaint, "is not a .npy file");
    int version = bytes[6];
    if (version < 1 || version > 3 || bytes[7] != 0)
        return complain(&complaint, "has .npy version %d.%d; 1.0, 2.0 and 3.0 are known", version, bytes[7]);
    size_t begin = version == 1 ? 10 : 12;
    if (size < begin)
        return complain(&complaint, "ends within the header");
    size_t length = (size_t)bytes[8] | (size_t)bytes[9] << 8;
    if (version > 1)
        length |= (size_t)bytes[10] << 16 | (size_t)bytes[11] << 24;
    if (length > NPY_MAX_HEADER)
        return complain(&complaint, "has a header of %zu bytes; the limit is %d", length, NPY_MAX_HEADER);
    if (size - begin < length)
        return complain(&complaint, "ends within the header");
    Header header = {0};
    if (!header_parse(&complaint, (const char *)bytes + begin, length, &header))
        return false;
    bool swapped;
    const Storage *storage = storage_find(&complaint, header.descr, &swapped);
    if (!storage)
        return false;
    int64_t expected;
    if (!count_elements(&header, storage->size, &array->count, &expected))
        return complain(&complaint, "the shape has more elements than can be counted");
    size_t present = size - begin - length;
    if (present != (uint64_t)expected)
        return complain(&complaint, "holds %zu bytes of elements; its shape and type need %lld", present,
                        (long long)expected);
    array->dtype = storage->dtype;
    array->ndim = header.ndim;
    memcpy(array->shape, header.shape, sizeof array->shape);
    return elements_read(&complaint, storage, swapped, header.fortran, bytes + begin + length, array);
}

/* Files -------------------------------------------------------------------------------------------------- */

static unsigned char *read_all(const Complaint *complaint, FILE *in, size_t *size)
{
    size_t room = 1 << 16;
    unsigned char *bytes = malloc(room);
    *size = 0;
    while (bytes) {
        *size += fread(bytes + *size, 1, room - *size, in);
        if (*size < room)
            break;
        unsigned char *grown = room <= SIZE_MAX / 2 ? realloc(bytes, room *= 2) : NULL;
        if (!grown)
            free(bytes);
        bytes = grown;
    }
    if (!bytes) {
        complain(complaint, "out of memory");
        return NULL;
    }
    if (ferror(in)) {
        complain(complaint, "%s", strerror(errno));
        free(bytes);
        return NULL;
    }
    return bytes;
}

bool npy_read(const char *path, NpyArray *array, char *why, size_t why_size)
{
    bool standard_input = strcmp(path, "-") == 0;
    Complaint complaint = {standard_input ? "<stdin>" : path, why, why_size};
    memset(array, 0, sizeof *array);
    FILE *in = standard_input ? stdin : fopen(path, "rb");
    if (!in)
        return complain(&complaint, "%s", strerror(errno));
    size_t size;
    unsigned char *bytes = read_all(&complaint, in, &size);
    if (!standard_input)
        fclose(in);
    bool ok = bytes && npy_parse(complaint.name, bytes, size, array, why, why_size);
    free(bytes);
    return ok;
}

static const char *descr_of(AttuneDtype dtype)
{
    switch (dtype) {
    case ATTUNE_F32: return "<f4";
    case ATTUNE_F16: return "<f2";
    case ATTUNE_BF16: return "<V2";
    case ATTUNE_I32: return "<i4";
    case ATTUNE_I64: return "<i8";
    case ATTUNE_BOOL: return "|b1";
    default: return NULL;
    }
}

/* The dict, padded so that the elements begin at a multiple of 64 bytes. */
static int header_write(char *text, size_t size, const char *descr, int ndim, const int64_t *shape)
{
    int length = snprintf(text, size, "{'descr': '%s', 'fortran_order': False, 'shape': (", descr);
    for (int d = 0; d < ndim; d++)
        length += snprintf(text + length, size - (size_t)length, "%lld%s", (long long)shape[d],
                           ndim == 1 ? "," : d + 1 < ndim ? ", " : "");
    length += snprintf(text + length, size - (size_t)length, "), }");
    while ((10 + length + 1) % 64 != 0)
        text[length++] = ' ';
    text[length++] = '\n';
    return length;
}

bool npy_write(const char *path, AttuneDtype dtype, int ndim, const int64_t *shape, const void *data,
               char *why, size_t why_size)
{
    Complaint complaint = {path, why, why_size};
    const char *descr = descr_of(dtype);
    if (!descr || ndim > NPY_MAX_DIMS)
        return complain(&complaint, "this array has no .npy form");
    char header[64 + NPY_MAX_DIMS * 24 + 128], temporary[4096];
    int length = header_write(header, sizeof header, descr, ndim, shape);
    if ((size_t)snprintf(temporary, sizeof temporary, "%s.%ld.tmp", path, (long)getpid()) >= sizeof temporary)
        return complain(&complaint, "the path is too long");
    FILE *out = fopen(temporary, "wb");
    if (!out)
        return complain(&complaint, "%s", strerror(errno));
    size_t count = 1;
    for (int d = 0; d < ndim; d++)
        count *= (size_t)shape[d];
    const unsigned char prefix[10] = {0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, (unsigned char)length,
                                      (unsigned char)(length >> 8)};
    bool ok = fwrite(prefix, 1, 10, out) == 10 && fwrite(header, 1, (size_t)length, out) == (size_t)length &&
              (count == 0 || fwrite(data, (size_t)attune_dtype_size(dtype), count, out) == count);
    ok = fclose(out) == 0 && ok;
    if (ok && rename(temporary, path) == 0)
        return true;
    complain(&complaint, "%s", strerror(errno));
    unlink(temporary);
    return false;
}
