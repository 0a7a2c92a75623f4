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

void attend_products_wrappers(CudaGen *g, const AttendForm *form)
{
    const char *phase = g->phase->name;
    const char *elem = elem_name(form);
    cuda_wgmma(g, arena_printf(g->arena, "%s_scores_first", phase), elem, form->keys, (CudaWgmma){.first = true});
    cuda_wgmma(g, arena_printf(g->arena, "%s_scores_more", phase), elem, form->keys, (CudaWgmma){.first = false});
    cuda_wgmma(g, arena_printf(g->arena, "%s_sum_more", phase), elem, form->E,
               (CudaWgmma){.registers = true, .by_rows = true});
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
