/* docs/ir.md from the operator tables: `ir_doc` prints it, `ir_doc FILE` fails when FILE says something else.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compiler/tile/tile.h"

typedef struct ScalarRow {
    const char *name, *signature, *flags, *ints, *floats, *range, *derivative;
} ScalarRow;

#define EXPR_OP(id, name, arity, signature, flags, ints, floats, range, derivative) \
    {name, signature, flags, #ints, #floats, #range, #derivative},
static const ScalarRow scalar_rows[] = {
#include "compiler/spec/expr_ops.def"
};

static void add_operands(Text *out, const char *signature)
{
    size_t count = strlen(signature) - 1;
    for (size_t k = 0; k < count; k++)
        text_add(out, "%s%c", k ? " " : "", signature[k]);
    text_add(out, "%s%c", count ? " -> " : "", signature[count]);
}

/* `|` would end the cell of a table. */
static void add_code(Text *out, const char *code)
{
    if (!strcmp(code, "NONE")) {
        text_add(out, " |");
        return;
    }
    text_add(out, " `");
    for (; *code; code++)
        text_add(out, *code == '|' ? "\\%c" : "%c", *code);
    text_add(out, "` |");
}

static void add_scalars(Text *out)
{
    text_add(
        out,
        "## Scalar operators\n\n"
        "Both representations share them (`compiler/spec/expr_ops.def`). Operands and result: b bool, i int (64 bits),\n"
        "f float, n int or float and all n of a row alike, * any. Meanings are C over a, b, c; a float `select` has its\n"
        "condition in p. Ints wrap, `/` floors, `%%` is its remainder, and dividing by zero gives 0. Range is the rule of\n"
        "interval analysis, derivative the rule of differentiation.\n\n"
        "| name | types | meaning for ints and bools | for floats | range | derivative |\n|---|---|---|---|---|---|\n");
    for (size_t k = 0; k < sizeof scalar_rows / sizeof *scalar_rows; k++) {
        const ScalarRow *row = &scalar_rows[k];
        bool special = strchr(row->flags, 'L') || !strcmp(row->ints, "REDUCE");
        text_add(out, "| `%s` | ", row->name);
        add_operands(out, row->signature);
        text_add(out, " |");
        if (special) {
            text_add(out, strchr(row->flags, 'L') ? " a leaf | |" : " reduces over a bound variable | |");
        } else {
            add_code(out, row->ints);
            add_code(out, row->floats);
        }
        text_add(out, " %s | %s |\n", row->range, row->derivative);
    }
}

static void add_tiles(Text *out)
{
    text_add(
        out,
        "## Tile operators\n\n"
        "What Programs are made of (`compiler/tile/tile_ops.def`). Stages: where an operator is legal.\n\n"
        "| name | operands | value | effect | stages | meaning |\n|---|---|---|---|---|---|\n");
    for (int k = 0; k < TILE_OP_COUNT; k++) {
        const TileOpInfo *info = &tile_op_info[k];
        text_add(out, "| `%s` | %d", info->name, info->min_args);
        if (info->max_args != info->min_args)
            text_add(out, " to %d", info->max_args);
        text_add(out, " | %s | %s | %s to %s | %s |\n", info->has_value ? "yes" : "",
                 info->has_effect ? "yes" : "", stage_name(info->first_stage), stage_name(info->last_stage),
                 info->meaning);
    }
}

static char *document(Arena *arena)
{
    Text out = {.arena = arena};
    text_add(&out, "# The two representations, operator by operator\n\n"
                   "Generated from the tables by `ir_doc`; edit those, then run `ninja update_docs`.\n\n");
    add_scalars(&out);
    text_add(&out, "\n");
    add_tiles(&out);
    return out.data;
}

/* Whether the file holds exactly this text; says where not. */
static bool same(const char *path, const char *text)
{
    FILE *file = fopen(path, "rb");
    size_t at = 0;
    int line = 1, c = 0;
    if (!file) {
        fprintf(stderr, "cannot open %s\n", path);
        return false;
    }
    while ((c = getc(file)) != EOF && text[at] && c == (unsigned char)text[at]) {
        line += c == '\n';
        at++;
    }
    fclose(file);
    if (c == EOF && !text[at])
        return true;
    fprintf(stderr, "%s:%d: the tables say something else: run `ninja update_docs`\n", path, line);
    return false;
}

int main(int argc, char **argv)
{
    Arena *arena = arena_create();
    bool good = arena != NULL;
    if (good && argc > 1)
        good = same(argv[1], document(arena));
    else if (good)
        fputs(document(arena), stdout);
    arena_destroy(arena);
    return good ? 0 : 1;
}
