/* One wgmma instruction m64 nN k16 as a function. */
#include "cuda_gen.h"

void cuda_wgmma(CudaGen *g, const char *name, const char *elem, int n, CudaWgmma form)
{
    int count = n / 2, a = form.registers ? 4 : 1;
    cuda_line(g, "DEV void %s(float (&C)[%d], %s, u64 b)\n", name, count, form.registers ? "const u32 *a" : "u64 a");
    cuda_line(g, "{\n");
    Text *t = &g->text;
    text_add(t, "    asm volatile(\"{\\n.reg .pred p;\\nsetp.ne.b32 p, %d, 0;\\n\"\n", !form.first);
    text_add(t, "                 \"wgmma.mma_async.sync.aligned.m64n%dk16.f32.%s.%s {", n, elem, elem);
    for (int x = 0; x < count; x++)
        text_add(t, "%s%%%d", x ? ", " : "", x);
    text_add(t, form.registers ? "}, {%%%d, %%%d, %%%d, %%%d}" : "}, %%%d", count, count + 1, count + 2, count + 3);
    text_add(t, ", %%%d, p, 1, 1%s, %d;\\n}\"\n", count + a, form.registers ? "" : ", 0", form.by_rows);
    text_add(t, "                 : ");
    for (int x = 0; x < count; x++)
        text_add(t, "%s\"%sf\"(C[%d])%s", x ? ", " : "", form.first ? "=" : "+", x,
                 x % 8 == 7 && x + 1 < count ? "\n                 " : "");
    text_add(t, form.registers ? "\n                 : \"r\"(a[0]), \"r\"(a[1]), \"r\"(a[2]), \"r\"(a[3]), \"l\"(b));\n"
                               : "\n                 : \"l\"(a), \"l\"(b));\n");
    cuda_line(g, "}\n");
}
