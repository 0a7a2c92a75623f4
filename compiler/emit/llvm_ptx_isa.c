/* The machine's own instructions, sm_80 and up.
 *
 * In code for the host, which tests run, each is a call of a function named after it: attune_bar_sync,
 * attune_tid_x. Results of several registers go where the first operand points. */
#include "llvm_ptx.h"

#include <string.h>

static LLVMValueRef call_host(Ptx *p, LLVMTypeRef result, const char *instruction, LLVMValueRef *args,
                              int count)
{
    Gen *l = &p->l;
    LLVMTypeRef types[16];
    LLVMValueRef all[16], memory = NULL;
    int n = 0;
    char *name = arena_printf(l->arena, "attune_%.*s", (int)strcspn(instruction, " ;"), instruction);
    for (char *at = name; *at; at++)
        *at = *at == '.' ? '_' : *at;
    if (LLVMGetTypeKind(result) == LLVMStructTypeKind)
        all[n++] = memory = gen_alloca(l, result, 1, 16);
    for (int k = 0; k < count; k++)
        all[n++] = args[k];
    for (int k = 0; k < n; k++)
        types[k] = LLVMTypeOf(all[k]);
    LLVMTypeRef type =
        LLVMFunctionType(memory ? LLVMVoidTypeInContext(l->context) : result, types, (unsigned)n, false);
    LLVMValueRef function = LLVMGetNamedFunction(l->module, name);
    if (!function)
        function = LLVMAddFunction(l->module, name, type);
    LLVMValueRef call = LLVMBuildCall2(l->b, type, function, all, (unsigned)n, "");
    return memory ? LLVMBuildLoad2(l->b, result, memory, "") : call;
}

static LLVMValueRef call_asm(Ptx *p, LLVMTypeRef result, const char *text, const char *constraints,
                             LLVMValueRef *args, int count, bool effects, bool convergent)
{
    LLVMTypeRef types[16];
    if (p->host)
        return call_host(p, result, text, args, count);
    for (int k = 0; k < count; k++)
        types[k] = LLVMTypeOf(args[k]);
    LLVMTypeRef type = LLVMFunctionType(result, types, (unsigned)count, false);
    LLVMValueRef code = LLVMGetInlineAsm(type, text, strlen(text), constraints, strlen(constraints), effects,
                                         false, LLVMInlineAsmDialectATT, false);
    LLVMValueRef call = LLVMBuildCall2(p->l.b, type, code, args, (unsigned)count, "");
    unsigned kind = LLVMGetEnumAttributeKindForName("convergent", 10);
    if (convergent)
        LLVMAddCallSiteAttribute(call, LLVMAttributeFunctionIndex,
                                 LLVMCreateEnumAttribute(p->l.context, kind, 0));
    kind = LLVMGetEnumAttributeKindForName("nounwind", 8);
    LLVMAddCallSiteAttribute(call, LLVMAttributeFunctionIndex,
                             LLVMCreateEnumAttribute(p->l.context, kind, 0));
    return call;
}

LLVMValueRef ptx_register(Ptx *p, const char *name)
{
    if (p->host)
        return call_host(p, p->l.i32, name, NULL, 0);
    return call_intrinsic(&p->l, arena_printf(p->l.arena, "llvm.nvvm.read.ptx.sreg.%s", name), NULL, 0, NULL,
                          0);
}

void ptx_barrier(Ptx *p)
{
    LLVMTypeRef none = LLVMVoidTypeInContext(p->l.context);
    if (p->copies)
        call_asm(p, none, "cp.async.wait_all;", "~{memory}", NULL, 0, true, false);
    p->copies = false;
    call_asm(p, none, "bar.sync 0;", "~{memory}", NULL, 0, true, true);
}

LLVMValueRef ptx_shuffle(Ptx *p, LLVMValueRef v, LLVMValueRef bits)
{
    Gen *l = &p->l;
    LLVMTypeRef type = LLVMTypeOf(v);
    const char *text = "shfl.sync.bfly.b32 $0, $1, $2, 31, -1;";
    if (type == l->i64) {
        LLVMValueRef low = ptx_shuffle(p, LLVMBuildTrunc(l->b, v, l->i32, ""), bits);
        LLVMValueRef high = LLVMBuildLShr(l->b, v, const_i64(l, 32), "");
        high = ptx_shuffle(p, LLVMBuildTrunc(l->b, high, l->i32, ""), bits);
        high = LLVMBuildShl(l->b, LLVMBuildZExt(l->b, high, l->i64, ""), const_i64(l, 32), "");
        return LLVMBuildOr(l->b, high, LLVMBuildZExt(l->b, low, l->i64, ""), "");
    }
    LLVMValueRef word = LLVMBuildBitCast(l->b, v, l->i32, "");
    word = call_asm(p, l->i32, text, "=r,r,r", (LLVMValueRef[]){word, bits}, 2, true, true);
    return LLVMBuildBitCast(l->b, word, type, "");
}

LLVMValueRef ptx_approx(Ptx *p, const char *instruction, LLVMValueRef a, LLVMValueRef b)
{
    if (!b)
        return call_asm(p, p->l.f32, arena_printf(p->l.arena, "%s $0, $1;", instruction), "=f,f", &a, 1,
                        false, false);
    return call_asm(p, p->l.f32, arena_printf(p->l.arena, "%s $0, $1, $2;", instruction), "=f,f,f",
                    (LLVMValueRef[]){a, b}, 2, false, false);
}

static LLVMTypeRef four_of(Ptx *p, LLVMTypeRef type)
{
    return LLVMStructTypeInContext(p->l.context, (LLVMTypeRef[]){type, type, type, type}, 4, false);
}

void ptx_ldmatrix(Ptx *p, bool transposed, LLVMValueRef at, LLVMValueRef fragment[4])
{
    LLVMValueRef all = call_asm(
        p, four_of(p, p->l.i32),
        transposed ? "ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {$0, $1, $2, $3}, [$4];"
                   : "ldmatrix.sync.aligned.m8n8.x4.shared.b16 {$0, $1, $2, $3}, [$4];",
        "=r,=r,=r,=r,r,~{memory}", &at, 1, true, true);
    for (unsigned k = 0; k < 4; k++)
        fragment[k] = LLVMBuildExtractValue(p->l.b, all, k, "");
}

void ptx_mma(Ptx *p, bool bf16, LLVMValueRef sum[4], const LLVMValueRef a[4], LLVMValueRef b0,
             LLVMValueRef b1)
{
    LLVMValueRef args[] = {a[0], a[1], a[2], a[3], b0, b1, sum[0], sum[1], sum[2], sum[3]};
    const char *type = bf16 ? "bf16" : "f16";
    LLVMValueRef all = call_asm(p, four_of(p, p->l.f32),
                                arena_printf(p->l.arena,
                                             "mma.sync.aligned.m16n8k16.row.col.f32.%s.%s.f32 {$0, $1, $2, "
                                             "$3}, {$4, $5, $6, $7}, {$8, $9}, {$10, $11, $12, $13};",
                                             type, type),
                                "=f,=f,=f,=f,r,r,r,r,r,r,f,f,f,f", args, 10, false, true);
    for (unsigned k = 0; k < 4; k++)
        sum[k] = LLVMBuildExtractValue(p->l.b, all, k, "");
}

void ptx_copy16(Ptx *p, LLVMValueRef to, LLVMValueRef from, LLVMValueRef take)
{
    Gen *l = &p->l;
    LLVMValueRef bytes = const_i32(l, 16);
    if (take)
        bytes = LLVMBuildSelect(l->b, take, bytes, const_i32(l, 0), "");
    LLVMValueRef args[] = {LLVMBuildPtrToInt(l->b, to, l->i32, ""), LLVMBuildPtrToInt(l->b, from, l->i64, ""),
                           bytes};
    call_asm(p, LLVMVoidTypeInContext(l->context), "cp.async.cg.shared.global [$0], [$1], 16, $2;",
             "r,l,r,~{memory}", args, 3, true, false);
    p->copies = true;
}

static void add_text_attribute(Ptx *p, LLVMValueRef function, const char *name, const char *value)
{
    LLVMAddAttributeAtIndex(function, LLVMAttributeFunctionIndex,
                            LLVMCreateStringAttribute(p->l.context, name, (unsigned)strlen(name), value,
                                                      (unsigned)strlen(value)));
}

/* Blocks that should be at work on a multiprocessor at once, for which registers are kept: as many as shared
 * memory holds, but never so many that too few registers are left to work with. */
static int blocks_at_once(const PlainPlan *plan)
{
    enum { OVERHEAD = 1024, MOST = 3 };
    int blocks = plan->g->target->shared_bytes / (plan->bytes + OVERHEAD);
    return blocks > MOST ? MOST : blocks > 1 ? blocks : 1;
}

void ptx_function_attributes(Ptx *p, LLVMValueRef function)
{
    if (p->host)
        return;
    unsigned kind = LLVMGetEnumAttributeKindForName("nounwind", 8);
    LLVMAddAttributeAtIndex(function, LLVMAttributeFunctionIndex,
                            LLVMCreateEnumAttribute(p->l.context, kind, 0));
    kind = LLVMGetEnumAttributeKindForName("convergent", 10);
    LLVMAddAttributeAtIndex(function, LLVMAttributeFunctionIndex,
                            LLVMCreateEnumAttribute(p->l.context, kind, 0));
    add_text_attribute(p, function, "target-cpu", p->l.target->cpu);
    add_text_attribute(p, function, "target-features", p->l.target->features);
    add_text_attribute(p, function, "nvvm.maxntid", arena_printf(p->l.arena, "%d", PLAIN_THREADS));
    add_text_attribute(p, function, "nvvm.minctasm",
                       arena_printf(p->l.arena, "%d", blocks_at_once(&p->plan)));
    LLVMSetFunctionCallConv(function, 71 /* PTX_Kernel */);
}
