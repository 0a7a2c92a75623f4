/* Counted loops in the generated code, with values carried from trip to trip. */
#include "llvm_gen.h"

static LLVMBasicBlockRef new_block(Gen *g)
{
    return LLVMAppendBasicBlockInContext(g->context, g->function, "");
}

static bool known(LLVMValueRef v, int64_t *value)
{
    if (!LLVMIsAConstantInt(v))
        return false;
    *value = LLVMConstIntGetSExtValue(v);
    return true;
}

Loop loop_begin(Gen *g, LLVMValueRef lo, LLVMValueRef hi, int64_t step, bool may_skip, LLVMValueRef *carried,
                int count)
{
    Loop loop = {.carried_count = count, .step = const_i64(g, step), .end = hi};
    int64_t first, last;
    if (!may_skip && known(lo, &first) && known(hi, &last) && first + step >= last) {
        loop.single = true;
        loop.index = lo;
        for (int k = 0; k < count; k++)
            loop.carried[k] = carried[k];
        return loop;
    }
    loop.head = new_block(g);
    loop.after = new_block(g);
    LLVMBasicBlockRef from = LLVMGetInsertBlock(g->b);
    if (may_skip)
        LLVMBuildCondBr(g->b, LLVMBuildICmp(g->b, LLVMIntSLT, lo, hi, ""), loop.head, loop.after);
    else
        LLVMBuildBr(g->b, loop.head);
    loop.test = may_skip ? LLVMBasicBlockAsValue(from) : NULL;
    LLVMPositionBuilderAtEnd(g->b, loop.head);
    loop.phi = LLVMBuildPhi(g->b, g->i64, "");
    LLVMAddIncoming(loop.phi, &lo, &from, 1);
    loop.index = loop.phi;
    for (int k = 0; k < count; k++) {
        loop.carried[k] = LLVMBuildPhi(g->b, LLVMTypeOf(carried[k]), "");
        LLVMAddIncoming(loop.carried[k], &carried[k], &from, 1);
    }
    return loop;
}

void loop_end(Gen *g, Loop *loop, LLVMValueRef *next_carried)
{
    if (loop->single) {
        for (int k = 0; k < loop->carried_count; k++)
            loop->carried[k] = next_carried[k];
        return;
    }
    LLVMBasicBlockRef latch = LLVMGetInsertBlock(g->b);
    LLVMValueRef next = LLVMBuildNSWAdd(g->b, loop->index, loop->step, "");
    LLVMAddIncoming(loop->phi, &next, &latch, 1);
    LLVMBuildCondBr(g->b, LLVMBuildICmp(g->b, LLVMIntSLT, next, loop->end, ""), loop->head, loop->after);
    for (int k = 0; k < loop->carried_count; k++)
        LLVMAddIncoming(loop->carried[k], &next_carried[k], &latch, 1);
    LLVMPositionBuilderAtEnd(g->b, loop->after);
    for (int k = 0; k < loop->carried_count; k++) {
        LLVMValueRef phi = LLVMBuildPhi(g->b, LLVMTypeOf(next_carried[k]), "");
        LLVMAddIncoming(phi, &next_carried[k], &latch, 1);
        if (loop->test) {
            LLVMBasicBlockRef from = LLVMValueAsBasicBlock(loop->test);
            LLVMValueRef start = LLVMGetIncomingValue(loop->carried[k], 0);
            LLVMAddIncoming(phi, &start, &from, 1);
        }
        loop->carried[k] = phi;
    }
}
