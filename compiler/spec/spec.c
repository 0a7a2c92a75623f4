/* Names of element types and of returned statistics. */
#include "spec.h"

#include <string.h>

static const struct TypeRow {
    ElemType type;
    int size;
    const char *names[5]; /* the first is the one that is printed */
} type_rows[] = {
    {ELEM_TYPE_BOOL, 1, {"bool"}},
    {ELEM_TYPE_I32, 4, {"i32", "int32"}},
    {ELEM_TYPE_I64, 8, {"i64", "int64"}},
    {ELEM_TYPE_F32, 4, {"f32", "fp32", "float32"}},
    {ELEM_TYPE_BF16, 2, {"bf16", "bfloat16"}},
    {ELEM_TYPE_F16, 2, {"f16", "fp16", "float16", "half"}},
};
enum { TYPE_ROW_COUNT = sizeof type_rows / sizeof *type_rows };

const char *elem_type_name(ElemType type)
{
    for (int n = 0; n < TYPE_ROW_COUNT; n++)
        if (type_rows[n].type == type)
            return type_rows[n].names[0];
    return "?";
}

bool elem_type_parse(const char *name, ElemType *type)
{
    for (int n = 0; n < TYPE_ROW_COUNT; n++)
        for (int k = 0; type_rows[n].names[k]; k++)
            if (!strcmp(type_rows[n].names[k], name)) {
                *type = type_rows[n].type;
                return true;
            }
    return false;
}

int elem_type_size(ElemType type)
{
    for (int n = 0; n < TYPE_ROW_COUNT; n++)
        if (type_rows[n].type == type)
            return type_rows[n].size;
    return 0;
}

const char *return_kind_name(ReturnKind kind)
{
    static const char *const names[RETURN_KIND_COUNT] = {
        [RETURN_LSE] = "lse", [RETURN_MAX] = "max", [RETURN_SUM] = "sum",
    };
    return names[kind];
}
