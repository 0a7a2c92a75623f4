/* Values of the generated code, scalar or vector alike: types, constants, broadcasts, element conversions.
 *
 * Ints are i64 as scalars; in vectors they are i32 where their bounds allow it, else i64. */
#include "llvm_gen.h"

#include <string.h>

bool is_vector(LLVMValueRef v)
{
    return LLVMGetTypeKind(LLVMTypeOf(v)) == LLVMVectorTypeKind;
}

LLVMTypeRef vector_of(Gen *g, LLVMTypeRef elem, int width)
{
    (void)g;
    return width > 0 ? LLVMVectorType(elem, (unsigned)width) : elem;
}

LLVMTypeRef elem_llvm(Gen *g, ElemType store)
{
    switch (store) {
    case ELEM_TYPE_BOOL: return g->i8;
    case ELEM_TYPE_I32: return g->i32;
    case ELEM_TYPE_I64: return g->i64;
    case ELEM_TYPE_F32: return g->f32;
    case ELEM_TYPE_BF16:
    case ELEM_TYPE_F16: break;
    }
    return g->i16;
}

LLVMTypeRef with_elem(Gen *g, LLVMValueRef like, LLVMTypeRef elem)
{
    return is_vector(like) ? vector_of(g, elem, (int)LLVMGetVectorSize(LLVMTypeOf(like))) : elem;
}

static LLVMValueRef const_splat(LLVMValueRef scalar, int width)
{
    LLVMValueRef items[256];
    if (width > 256)
        width = 256;
    for (int k = 0; k < width; k++)
        items[k] = scalar;
    return LLVMConstVector(items, (unsigned)width);
}

LLVMValueRef splat(Gen *g, LLVMValueRef v, int width)
{
    if (width <= 0 || is_vector(v))
        return v;
    if (LLVMIsConstant(v))
        return const_splat(v, width);
    LLVMTypeRef type = vector_of(g, LLVMTypeOf(v), width);
    LLVMValueRef one = LLVMBuildInsertElement(g->b, LLVMGetPoison(type), v, const_i64(g, 0), "");
    return LLVMBuildShuffleVector(g->b, one, LLVMGetPoison(type), const_splat(const_i32(g, 0), width), "");
}

static LLVMTypeRef scalar_type(LLVMValueRef v)
{
    LLVMTypeRef type = LLVMTypeOf(v);
    return LLVMGetTypeKind(type) == LLVMVectorTypeKind ? LLVMGetElementType(type) : type;
}

static LLVMValueRef like_const(LLVMValueRef like, LLVMValueRef scalar)
{
    return is_vector(like) ? const_splat(scalar, (int)LLVMGetVectorSize(LLVMTypeOf(like))) : scalar;
}

LLVMValueRef like_float(Gen *g, LLVMValueRef like, double value)
{
    (void)g;
    return like_const(like, LLVMConstReal(scalar_type(like), value));
}

LLVMValueRef like_int(Gen *g, LLVMValueRef like, int64_t value)
{
    (void)g;
    return like_const(like, LLVMConstInt(scalar_type(like), (unsigned long long)value, true));
}

LLVMValueRef const_i64(Gen *g, int64_t value)
{
    return LLVMConstInt(g->i64, (unsigned long long)value, true);
}

LLVMValueRef const_i32(Gen *g, int64_t value)
{
    return LLVMConstInt(g->i32, (unsigned long long)value, true);
}

LLVMValueRef lane_numbers(Gen *g, int width, LLVMTypeRef elem)
{
    LLVMValueRef items[256];
    (void)g;
    for (int k = 0; k < width && k < 256; k++)
        items[k] = LLVMConstInt(elem, (unsigned long long)k, false);
    return LLVMConstVector(items, (unsigned)width);
}

LLVMValueRef call_intrinsic(Gen *g, const char *name, LLVMTypeRef *overload, int overloads,
                            LLVMValueRef *args, int count)
{
    unsigned id = LLVMLookupIntrinsicID(name, strlen(name));
    if (!id) {
        gen_error(g, NULL, "this LLVM lacks the intrinsic '%s'", name);
        return LLVMGetPoison(overloads ? overload[0] : g->f32);
    }
    LLVMValueRef fn = LLVMGetIntrinsicDeclaration(g->module, id, overload, (size_t)overloads);
    LLVMTypeRef type = LLVMIntrinsicGetType(g->context, id, overload, (size_t)overloads);
    return LLVMBuildCall2(g->b, type, fn, args, (unsigned)count, "");
}

/* a * b + c, in one rounding where the machine can. */
LLVMValueRef gen_fma(Gen *g, LLVMValueRef a, LLVMValueRef b, LLVMValueRef c)
{
    LLVMTypeRef type = LLVMTypeOf(c);
    return call_intrinsic(g, "llvm.fmuladd", &type, 1, (LLVMValueRef[]){a, b, c}, 3);
}

LLVMValueRef vector_int(Gen *g, LLVMValueRef v, int bits, int width)
{
    LLVMTypeRef elem = bits == 32 ? g->i32 : g->i64;
    if (!is_vector(v)) {
        if (bits == 32)
            v = LLVMBuildTrunc(g->b, v, g->i32, "");
        return splat(g, v, width);
    }
    LLVMTypeRef type = with_elem(g, v, elem);
    if (LLVMTypeOf(v) == type)
        return v;
    return bits == 32 ? LLVMBuildTrunc(g->b, v, type, "") : LLVMBuildSExt(g->b, v, type, "");
}

LLVMValueRef to_i64(Gen *g, LLVMValueRef v)
{
    return is_vector(v) ? vector_int(g, v, 64, 0) : v;
}

LLVMValueRef shuffle(Gen *g, LLVMValueRef a, LLVMValueRef b, const int *index, int count)
{
    LLVMValueRef items[256];
    for (int k = 0; k < count; k++)
        items[k] = const_i32(g, index[k]);
    return LLVMBuildShuffleVector(g->b, a, b, LLVMConstVector(items, (unsigned)count), "");
}

/* 16-bit floats ---------------------------------------------------------------------------------------- */

static LLVMValueRef build_select(Gen *g, LLVMValueRef c, LLVMValueRef a, LLVMValueRef b)
{
    return LLVMBuildSelect(g->b, c, a, b, "");
}

static LLVMValueRef bf16_bits(Gen *g, LLVMValueRef f)
{
    LLVMTypeRef i16 = with_elem(g, f, g->i16), i32 = with_elem(g, f, g->i32);
    if (g->target->bf16_dot && is_vector(f))
        return LLVMBuildBitCast(g->b, LLVMBuildFPTrunc(g->b, f, with_elem(g, f, g->bf16), ""), i16, "");
    /* Nearest even: add half a unit, less one where the kept part is even. */
    LLVMValueRef u = LLVMBuildBitCast(g->b, f, i32, "");
    LLVMValueRef high = LLVMBuildLShr(g->b, u, like_int(g, u, 16), "");
    LLVMValueRef odd = LLVMBuildAnd(g->b, high, like_int(g, u, 1), "");
    LLVMValueRef sum = LLVMBuildAdd(g->b, LLVMBuildAdd(g->b, u, odd, ""), like_int(g, u, 0x7fff), "");
    LLVMValueRef rounded = LLVMBuildLShr(g->b, sum, like_int(g, u, 16), "");
    LLVMValueRef quiet = LLVMBuildOr(g->b, high, like_int(g, u, 0x40), "");
    LLVMValueRef nan = LLVMBuildFCmp(g->b, LLVMRealUNO, f, f, "");
    return LLVMBuildTrunc(g->b, build_select(g, nan, quiet, rounded), i16, "");
}

static LLVMValueRef f16_bits(Gen *g, LLVMValueRef f)
{
    LLVMTypeRef i16 = with_elem(g, f, g->i16), i32 = with_elem(g, f, g->i32), f32 = with_elem(g, f, g->f32);
    if (g->target->f16_convert)
        return LLVMBuildBitCast(
            g->b, LLVMBuildFPTrunc(g->b, f, with_elem(g, f, LLVMHalfTypeInContext(g->context)), ""), i16, "");
    LLVMValueRef u = LLVMBuildBitCast(g->b, f, i32, "");
    LLVMValueRef sign =
        LLVMBuildAnd(g->b, LLVMBuildLShr(g->b, u, like_int(g, u, 16), ""), like_int(g, u, 0x8000), "");
    LLVMValueRef a = LLVMBuildAnd(g->b, u, like_int(g, u, 0x7fffffff), "");
    /* Subnormal results: adding 0.5 lets the float adder do the rounding at 2^-24. */
    LLVMValueRef small = LLVMBuildFAdd(g->b, LLVMBuildBitCast(g->b, a, f32, ""), like_float(g, f, 0.5), "");
    small = LLVMBuildSub(g->b, LLVMBuildBitCast(g->b, small, i32, ""), like_int(g, u, 0x3f000000), "");
    LLVMValueRef odd =
        LLVMBuildAnd(g->b, LLVMBuildLShr(g->b, a, like_int(g, u, 13), ""), like_int(g, u, 1), "");
    LLVMValueRef normal =
        LLVMBuildAdd(g->b, LLVMBuildAdd(g->b, a, odd, ""), like_int(g, u, 0xfff - (112 << 23)), "");
    normal = LLVMBuildLShr(g->b, normal, like_int(g, u, 13), "");
    LLVMValueRef bits =
        build_select(g, LLVMBuildICmp(g->b, LLVMIntULT, a, like_int(g, u, 113 << 23), ""), small, normal);
    bits = build_select(g, LLVMBuildICmp(g->b, LLVMIntUGE, a, like_int(g, u, 0x477ff000), ""),
                        like_int(g, u, 0x7c00), bits);
    bits = build_select(g, LLVMBuildICmp(g->b, LLVMIntUGT, a, like_int(g, u, 0x7f800000), ""),
                        like_int(g, u, 0x7e00), bits);
    return LLVMBuildTrunc(g->b, LLVMBuildOr(g->b, bits, sign, ""), i16, "");
}

LLVMValueRef float_to_bits16(Gen *g, LLVMValueRef f, ElemType elem)
{
    return elem == ELEM_TYPE_BF16 ? bf16_bits(g, f) : f16_bits(g, f);
}

LLVMValueRef bits16_to_float(Gen *g, LLVMValueRef bits, ElemType elem)
{
    LLVMTypeRef i32 = with_elem(g, bits, g->i32), f32 = with_elem(g, bits, g->f32);
    if (elem == ELEM_TYPE_F16 && g->target->f16_convert)
        return LLVMBuildFPExt(
            g->b, LLVMBuildBitCast(g->b, bits, with_elem(g, bits, LLVMHalfTypeInContext(g->context)), ""),
            f32, "");
    LLVMValueRef u = LLVMBuildZExt(g->b, bits, i32, "");
    if (elem == ELEM_TYPE_BF16)
        return LLVMBuildBitCast(g->b, LLVMBuildShl(g->b, u, like_int(g, u, 16), ""), f32, "");
    /* The exponent is rebased by a multiplication, which also normalises subnormals. */
    LLVMValueRef sign =
        LLVMBuildShl(g->b, LLVMBuildAnd(g->b, u, like_int(g, u, 0x8000), ""), like_int(g, u, 16), "");
    LLVMValueRef a =
        LLVMBuildShl(g->b, LLVMBuildAnd(g->b, u, like_int(g, u, 0x7fff), ""), like_int(g, u, 13), "");
    LLVMValueRef f = LLVMBuildBitCast(g->b, a, f32, "");
    f = LLVMBuildFMul(g->b, f, like_float(g, f, 0x1p112), "");
    LLVMValueRef r = LLVMBuildBitCast(g->b, f, i32, "");
    LLVMValueRef special = LLVMBuildICmp(g->b, LLVMIntUGE, a, like_int(g, u, 0x0f800000), "");
    r = build_select(g, special, LLVMBuildOr(g->b, a, like_int(g, u, 0x7f800000), ""), r);
    return LLVMBuildBitCast(g->b, LLVMBuildOr(g->b, r, sign, ""), f32, "");
}

LLVMValueRef round_float(Gen *g, LLVMValueRef f, ElemType elem)
{
    if (elem != ELEM_TYPE_BF16 && elem != ELEM_TYPE_F16)
        return f;
    return bits16_to_float(g, float_to_bits16(g, f, elem), elem);
}
