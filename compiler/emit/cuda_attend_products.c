/* The two products of an attention tile as wgmma instructions.
 *
 *     scores   S = Q K^T    both operands from shared memory, keys' channels contiguous
 *     sum      O += W V     weights from registers, the values' rows are the sum's index
 *
 * An accumulator register x of a thread is row 16 warp + lane / 4 + 8 (x / 2 % 2), column 8 (x / 4) + 2 (lane % 4) + x % 2
 * of the warpgroup's 64 rows. A step takes 16 of the sum's index: 32 bytes within a panel of 64 elements, or 16 rows. */
#include "cuda_attend.h"

static const char *elem_name(const AttendForm *form)
{
    return form->q->type.elem == ELEM_TYPE_BF16 ? "bf16" : "f16";
}

/* One instruction m64 nN k16. first: the accumulator is written only. */
static void wrapper(CudaGen *g, const char *name, const char *elem, int n, bool registers, bool first)
{
    int count = n / 2;
    cuda_line(g, "DEV void %s(float (&C)[%d], %s, u64 b)\n", name, count, registers ? "const u32 *a" : "u64 a");
    cuda_line(g, "{\n");
    Text *t = &g->text;
    text_add(t, "    asm volatile(\"{\\n.reg .pred p;\\nsetp.ne.b32 p, %d, 0;\\n\"\n", !first);
    text_add(t, "                 \"wgmma.mma_async.sync.aligned.m64n%dk16.f32.%s.%s {", n, elem, elem);
    for (int x = 0; x < count; x++)
        text_add(t, "%s%%%d", x ? ", " : "", x);
    if (registers)
        text_add(t, "}, {%%%d, %%%d, %%%d, %%%d}, %%%d, p, 1, 1, 1;\\n}\"\n", count, count + 1, count + 2, count + 3, count + 4);
    else
        text_add(t, "}, %%%d, %%%d, p, 1, 1, 0, 0;\\n}\"\n", count, count + 1);
    text_add(t, "                 : ");
    for (int x = 0; x < count; x++)
        text_add(t, "%s\"%sf\"(C[%d])%s", x ? ", " : "", first ? "=" : "+", x, x % 8 == 7 && x + 1 < count ? "\n                 " : "");
    if (registers)
        text_add(t, "\n                 : \"r\"(a[0]), \"r\"(a[1]), \"r\"(a[2]), \"r\"(a[3]), \"l\"(b));\n");
    else
        text_add(t, "\n                 : \"l\"(a), \"l\"(b));\n");
    cuda_line(g, "}\n");
}

void attend_products_wrappers(CudaGen *g, const AttendForm *form)
{
    const char *phase = g->phase->name;
    wrapper(g, arena_printf(g->arena, "%s_scores_first", phase), elem_name(form), form->keys, false, true);
    wrapper(g, arena_printf(g->arena, "%s_scores_more", phase), elem_name(form), form->keys, false, false);
    wrapper(g, arena_printf(g->arena, "%s_sum_more", phase), elem_name(form), form->E, true, false);
}

void attend_products(CudaGen *g, const AttendForm *form)
{
    const char *phase = g->phase->name;
    int score_steps = (form->D + 15) / 16, q_panel = form->rows * 128 / 16, k_panel = form->keys * 128 / 16;
    cuda_line(g, "static DEV_MEMBER void scores(float (&S)[%d], u64 q, u64 k)\n", form->keys / 2);
    cuda_line(g, "{\n");
    for (int s = 0; s < score_steps; s++)
        cuda_line(g, "    %s_scores_%s(S, q + %d, k + %d);\n", phase, s ? "more" : "first", s / 4 * q_panel + s % 4 * 2,
                  s / 4 * k_panel + s % 4 * 2);
    cuda_line(g, "}\n");
    cuda_line(g, "static DEV_MEMBER void sum(float (&O)[%d], const u32 (&W)[%d], u64 v)\n", form->E / 2, form->keys / 4);
    cuda_line(g, "{\n");
    for (int s = 0; s < form->keys / 16; s++)
        cuda_line(g, "    %s_sum_more(O, W + %d, v + %d);\n", phase, 4 * s, 128 * s);
    cuda_line(g, "}\n");
    cuda_line(g, "static DEV_MEMBER u32 pack(float low, float high) { return pack_%s(low, high); }\n", elem_name(form));
}
