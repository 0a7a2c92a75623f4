/* .npy files: round trips of every element type, every storage that is accepted, and malformed ones: a table
 * of kinds, then every truncation and every changed byte of a good file. */
#include <CUnit/Basic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/cli/npy.h"

enum { ROOM = 4096 };

typedef struct Bytes {
    unsigned char data[ROOM];
    size_t size;
} Bytes;

static void add(Bytes *bytes, const void *data, size_t size)
{
    CU_ASSERT_FATAL(bytes->size + size <= ROOM);
    memcpy(bytes->data + bytes->size, data, size);
    bytes->size += size;
}

/* A file of this version, header text and elements. */
static Bytes make_file(int version, const char *header, const void *elements, size_t size)
{
    Bytes bytes = {.size = 0};
    size_t length = strlen(header);
    unsigned char head[12] = {0x93, 'N', 'U', 'M', 'P', 'Y', (unsigned char)version, 0, (unsigned char)length,
                              (unsigned char)(length >> 8), 0, 0};
    add(&bytes, head, version == 1 ? 10 : 12);
    add(&bytes, header, length);
    add(&bytes, elements, size);
    return bytes;
}

static bool parse(const Bytes *bytes, NpyArray *array, char *why, size_t why_size)
{
    /* A copy of exactly this size, so that a sanitizer sees every byte read past the end. */
    unsigned char *exact = malloc(bytes->size ? bytes->size : 1);
    CU_ASSERT_PTR_NOT_NULL_FATAL(exact);
    memcpy(exact, bytes->data, bytes->size);
    bool ok = npy_parse("x.npy", exact, bytes->size, array, why, why_size);
    free(exact);
    return ok;
}

static void test_round_trips(void)
{
    static const AttuneDtype types[] = {ATTUNE_F32, ATTUNE_F16, ATTUNE_BF16,
                                        ATTUNE_I32, ATTUNE_I64, ATTUNE_BOOL};
    static const struct { int ndim; int64_t shape[4]; } shapes[] = {
        {0, {0}}, {1, {5}}, {2, {3, 4}}, {4, {2, 1, 3, 2}}, {3, {2, 0, 4}}, {1, {1}}};
    char path[] = "/tmp/attune_npy_XXXXXX", why[256] = "";
    int fd = mkstemp(path);
    CU_ASSERT_FATAL(fd >= 0);
    close(fd);
    for (size_t t = 0; t < sizeof types / sizeof *types; t++)
        for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
            unsigned char data[512];
            int64_t count = 1;
            for (int d = 0; d < shapes[s].ndim; d++)
                count *= shapes[s].shape[d];
            size_t size = (size_t)(count * attune_dtype_size(types[t]));
            for (size_t k = 0; k < size; k++)
                data[k] = (unsigned char)(types[t] == ATTUNE_BOOL ? k % 2 : k * 37 + 11);
            CU_ASSERT_TRUE_FATAL(
                npy_write(path, types[t], shapes[s].ndim, shapes[s].shape, data, why, sizeof why));
            NpyArray array;
            CU_ASSERT_TRUE_FATAL(npy_read(path, &array, why, sizeof why));
            CU_ASSERT_EQUAL(array.dtype, types[t]);
            CU_ASSERT_EQUAL(array.ndim, shapes[s].ndim);
            CU_ASSERT_EQUAL(array.count, count);
            CU_ASSERT_EQUAL(memcmp(array.shape, shapes[s].shape, sizeof(int64_t) * (size_t)shapes[s].ndim),
                            0);
            CU_ASSERT_EQUAL(memcmp(array.data, data, size), 0);
            free(array.data);
        }
    unlink(path);
}

/* The elements of a written file begin at a multiple of 64 bytes, as the format recommends. */
static void test_alignment(void)
{
    char path[] = "/tmp/attune_npy_XXXXXX", why[256];
    int fd = mkstemp(path);
    CU_ASSERT_FATAL(fd >= 0);
    close(fd);
    for (int64_t n = 1; n < 2000000; n *= 7) {
        int64_t shape[1] = {n};
        float *data = calloc((size_t)n, 4);
        CU_ASSERT_TRUE(data && npy_write(path, ATTUNE_F32, 1, shape, data, why, sizeof why));
        free(data);
        FILE *in = fopen(path, "rb");
        CU_ASSERT_PTR_NOT_NULL_FATAL(in);
        fseek(in, 0, SEEK_END);
        CU_ASSERT_EQUAL((ftell(in) - 4 * n) % 64, 0);
        fclose(in);
    }
    unlink(path);
}

typedef struct Accepted {
    const char *header;
    int version;
    unsigned char elements[24];
    size_t size;
    AttuneDtype dtype;
    double expected[3];
    int count;
} Accepted;

static double number_at(const NpyArray *array, int k)
{
    switch (array->dtype) {
    case ATTUNE_F32: return (double)((const float *)array->data)[k];
    case ATTUNE_I32: return ((const int32_t *)array->data)[k];
    case ATTUNE_I64: return (double)((const int64_t *)array->data)[k];
    case ATTUNE_BOOL: return ((const uint8_t *)array->data)[k];
    default: return ((const uint16_t *)array->data)[k];
    }
}

static void test_storages(void)
{
    static const Accepted cases[] = {
        {"{'descr': '<f8', 'fortran_order': False, 'shape': (1,), }",
         1, {0, 0, 0, 0, 0, 0, 0xf8, 0xbf}, 8, ATTUNE_F32, {-1.5}, 1},
        {"{'descr': '>f4', 'fortran_order': False, 'shape': (1,), }",
         2, {0x3f, 0xc0, 0, 0}, 4, ATTUNE_F32, {1.5}, 1},
        {"{'descr': '>i8', 'fortran_order': False, 'shape': (1,)}",
         3, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe}, 8, ATTUNE_I64, {-2}, 1},
        {"{\"descr\": \"|i1\", \"fortran_order\": False, \"shape\": (3,)}",
         1, {1, 0xff, 0x80}, 3, ATTUNE_I32, {1, -1, -128}, 3},
        {"{'descr':'|u1','fortran_order':False,'shape':(2,)}\n", 1, {1, 0xff}, 2, ATTUNE_I32, {1, 255}, 2},
        {"{'descr': '<i2', 'fortran_order': False, 'shape': (2L,)}",
         1, {0xfe, 0xff, 1, 0}, 4, ATTUNE_I32, {-2, 1}, 2},
        {"{'descr': '>u2', 'fortran_order': False, 'shape': (1,)}", 1, {0x80, 0}, 2, ATTUNE_I32, {32768}, 1},
        {"{'descr': '<u4', 'fortran_order': False, 'shape': (1,)}",
         1, {0xff, 0xff, 0xff, 0xff}, 4, ATTUNE_I64, {4294967295.0}, 1},
        {"{'shape': (2,), 'fortran_order': False, 'descr': '|b1'}", 1, {0, 7}, 2, ATTUNE_BOOL, {0, 1}, 2},
        {"{'descr': '|V2', 'fortran_order': False, 'shape': (1,)}",
         1, {0x80, 0x3f}, 2, ATTUNE_BF16, {0x3f80}, 1},
        {"{'descr': '<i4', 'fortran_order': False, 'shape': ()}", 1, {9, 0, 0, 0}, 4, ATTUNE_I32, {9}, 1},
    };
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        Bytes bytes = make_file(cases[c].version, cases[c].header, cases[c].elements, cases[c].size);
        NpyArray array;
        char why[256] = "";
        bool ok = parse(&bytes, &array, why, sizeof why);
        if (!ok)
            fprintf(stderr, "%s: %s\n", cases[c].header, why);
        CU_ASSERT_TRUE_FATAL(ok);
        CU_ASSERT_EQUAL(array.dtype, cases[c].dtype);
        CU_ASSERT_EQUAL_FATAL(array.count, cases[c].count);
        for (int k = 0; k < cases[c].count; k++)
            CU_ASSERT_EQUAL(number_at(&array, k), cases[c].expected[k]);
        free(array.data);
    }
}

static void test_fortran_order(void)
{
    int32_t stored[6] = {0, 10, 1, 11, 2, 12}; /* [2, 3], columns first */
    Bytes bytes =
        make_file(1, "{'descr': '<i4', 'fortran_order': True, 'shape': (2, 3), }", stored, sizeof stored);
    NpyArray array;
    char why[256];
    CU_ASSERT_TRUE_FATAL(parse(&bytes, &array, why, sizeof why));
    for (int y = 0; y < 2; y++)
        for (int x = 0; x < 3; x++)
            CU_ASSERT_EQUAL(((int32_t *)array.data)[3 * y + x], 10 * y + x);
    free(array.data);
}

static void test_malformed(void)
{
    static const struct { const char *header; size_t size; const char *message;
    } cases[] = {
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }", 8, "need 12"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }", 8, "need 4"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904, 4), }", 8, "counted"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,), }", 8, "too large"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,), }", 8, "need 4000000000000"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }", 4, "expected a size"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1, 1, 1, 1, 1, 1, 1, 1), }", 4,
         "more than 8 dimensions"},
        {"{'descr': '<c8', 'fortran_order': False, 'shape': (1,), }", 8, "'<c8' are not supported"},
        {"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", 8, "not supported"},
        {"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }", 4, "records"},
        {"{'descr': '<f4', 'fortran_order': 0, 'shape': (1,), }", 4, "neither True nor False"},
        {"{'descr': '<f4', 'shape': (1,), }", 4, "lacks fortran_order"},
        {"{'fortran_order': False, 'shape': (1,), }", 4, "lacks descr"},
        {"{'descr': '<f4', 'fortran_order': False}", 4, "lacks shape"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,), 'colour': 'red'}", 4, "unknown key"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,)", 4, "expected"},
        {"{'descr: '<f4'}", 4, "malformed"},
        {"", 4, "expected '{'"},
    };
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        static const unsigned char elements[8];
        Bytes bytes = make_file(1, cases[c].header, elements, cases[c].size);
        NpyArray array;
        char why[256] = "";
        CU_ASSERT_FALSE_FATAL(parse(&bytes, &array, why, sizeof why));
        if (!strstr(why, cases[c].message))
            fprintf(stderr, "%s\n  said: %s\n", cases[c].header, why);
        CU_ASSERT_PTR_NOT_NULL(strstr(why, cases[c].message));
        CU_ASSERT_EQUAL(strncmp(why, "x.npy: ", 7), 0);
    }
}

/* Versions, magic, and lengths of headers that are longer than the file. */
static void test_prefix(void)
{
    float one = 1;
    const char *header = "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }";
    static const struct { size_t at; unsigned char value; const char *message;
    } cases[] = {{0, 0x92, "not a .npy file"},  {5, 'y', "not a .npy file"}, {6, 0, "version 0.0"},
                 {6, 4, "version 4.0"},         {7, 1, "version 1.1"},       {8, 0xff, "within the header"},
                 {9, 0xff, "within the header"}};
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        Bytes bytes = make_file(1, header, &one, sizeof one);
        bytes.data[cases[c].at] = cases[c].value;
        NpyArray array;
        char why[256] = "";
        CU_ASSERT_FALSE(parse(&bytes, &array, why, sizeof why));
        CU_ASSERT_PTR_NOT_NULL(strstr(why, cases[c].message));
    }
    Bytes bytes = make_file(2, header, &one, sizeof one);
    bytes.data[11] = 0x7f; /* a header of 2 GB */
    NpyArray array;
    char why[256] = "";
    CU_ASSERT_FALSE(parse(&bytes, &array, why, sizeof why));
    CU_ASSERT_PTR_NOT_NULL(strstr(why, "the limit"));
}

/* Nothing that is read from a damaged file may crash; what is accepted must be consistent. */
static void test_damaged(void)
{
    unsigned char elements[12] = {0, 0, 0x80, 0x3f, 0, 0, 0, 0x40, 0, 0, 0x40, 0x40};
    const char *header = "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 1), }";
    char why[256];
    NpyArray array;
    int rejected = 0;
    for (int version = 1; version <= 3; version++) {
        Bytes good = make_file(version, header, elements, sizeof elements);
        for (size_t size = 0; size < good.size; size++) {
            Bytes cut = good;
            cut.size = size;
            bool ok = parse(&cut, &array, why, sizeof why);
            CU_ASSERT_FALSE(ok);
        }
        for (size_t at = 0; at < good.size - sizeof elements; at++)
            for (int value = 0; value < 256; value++) {
                Bytes changed = good;
                changed.data[at] = (unsigned char)value;
                if (!parse(&changed, &array, why, sizeof why)) {
                    rejected++;
                    continue;
                }
                int64_t count = 1;
                for (int d = 0; d < array.ndim; d++)
                    count *= array.shape[d];
                CU_ASSERT_EQUAL(array.count, count);
                free(array.data);
            }
    }
    CU_ASSERT_TRUE(rejected > 30000);
}

static void test_missing_file(void)
{
    NpyArray array;
    char why[256] = "";
    CU_ASSERT_FALSE(npy_read("/nonexistent/x.npy", &array, why, sizeof why));
    CU_ASSERT_PTR_NOT_NULL(strstr(why, "/nonexistent/x.npy"));
    int64_t shape[1] = {1};
    float one = 1;
    CU_ASSERT_FALSE(npy_write("/nonexistent/x.npy", ATTUNE_F32, 1, shape, &one, why, sizeof why));
}

static void test_conversions(void)
{
    float values[5] = {1.0f, -2.5f, 65520.0f, 1e-8f, 3.0009765f};
    uint16_t half[5], brain[5];
    float back[5];
    CU_ASSERT_TRUE(npy_convert(values, ATTUNE_F32, half, ATTUNE_F16, 5));
    CU_ASSERT_TRUE(npy_convert(values, ATTUNE_F32, brain, ATTUNE_BF16, 5));
    CU_ASSERT_EQUAL(half[0], 0x3c00);
    CU_ASSERT_EQUAL(half[1], 0xc100);
    CU_ASSERT_EQUAL(half[2], 0x7c00);
    CU_ASSERT_EQUAL(half[3], 0);
    CU_ASSERT_EQUAL(half[4], 0x4200);
    CU_ASSERT_EQUAL(brain[1], 0xc020);
    CU_ASSERT_TRUE(npy_convert(half, ATTUNE_F16, back, ATTUNE_F32, 5));
    CU_ASSERT_EQUAL(back[1], -2.5f);
    int64_t big[2] = {7, INT64_C(1) << 40};
    int32_t small[2];
    CU_ASSERT_TRUE(npy_convert(big, ATTUNE_I64, small, ATTUNE_I32, 1));
    CU_ASSERT_FALSE(npy_convert(big, ATTUNE_I64, small, ATTUNE_I32, 2));
    CU_ASSERT_FALSE(npy_convert(values, ATTUNE_F32, small, ATTUNE_I32, 1));
}

int main(void)
{
    CU_initialize_registry();
    CU_pSuite suite = CU_add_suite("npy", NULL, NULL);
    CU_add_test(suite, "round trips", test_round_trips);
    CU_add_test(suite, "alignment", test_alignment);
    CU_add_test(suite, "storages", test_storages);
    CU_add_test(suite, "fortran order", test_fortran_order);
    CU_add_test(suite, "malformed headers", test_malformed);
    CU_add_test(suite, "malformed prefixes", test_prefix);
    CU_add_test(suite, "damaged files", test_damaged);
    CU_add_test(suite, "missing files", test_missing_file);
    CU_add_test(suite, "conversions", test_conversions);
    CU_basic_run_tests();
    int failures = (int)CU_get_number_of_failures();
    CU_cleanup_registry();
    return failures ? 1 : 0;
}
