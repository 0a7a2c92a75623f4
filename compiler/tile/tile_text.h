/* The words of the Program's text form, and the limits, that printer, parser and verifier share.
 *
 *     program causal rank 1 stage sized {
 *       knob block_m = 32                              ; without "= 32" while it is not chosen
 *       axis m = 32                                    ; before stage sized: an expression over knobs
 *       param window : int
 *       tensor q : q bf16 [B, H, M, D]                 ; "_": an extent that nobody needs
 *       tensor part : workspace 0 f32 [B, ceil(M / 32) * 32]
 *       phase attend grid (b: B, h: H, mt: ceil(M / 32)) {
 *         %0 = grid mt
 *         %1 : i64[m] = index m
 *         %5 : f32[m, n] = contract d %3, %4           ; by EXPR: not the product; into %v: added to a var
 *         %6 : f32[m, n] = map (%5, %2) $0 * $1 + 0.5  ; let #0 = .., #1 = .. in ..: what is used twice
 *         %7 : f32[m] = var %6
 *         set %7 = %9
 *         %10 = for %0 .. %11 {                        ; for reverse: downwards
 *         }
 *         if %11 {
 *         } else {
 *         }
 *         %12 : bf16[n, d] = load k(%0, %2) if %13
 *         store o(%0, %2) = %14 if %15
 *       }
 *     }
 *
 * `; text` behind an instruction is its label; other comments are not kept. A name that is no identifier is
 * written 'in quotes', and so is a param whose name means something else in an expression. */
#ifndef ATTUNE_TILE_TEXT_H
#define ATTUNE_TILE_TEXT_H

#include "tile.h"

enum {
    TILE_MAX_NESTING = 64,      /* blocks in blocks */
    TILE_MAX_BRACKETS = 512,    /* and signs in an expression */
    TILE_MAX_OPERATORS = 4096,  /* in an expression */
    TILE_MAX_IDS = 1 << 20,     /* %id is below */
    TILE_MAX_EXTENT = 1 << 20,  /* of an axis */
    TILE_MAX_ELEMENTS = 1 << 24, /* of a tile */
    TILE_LET_SIZE = 48,         /* an expression with more nodes, written out, names what it uses twice */
    TILE_SIZE_COUNT = VAR_OFFSET - VAR_SIZE_B + 1
};

extern const char *const tile_size_names[TILE_SIZE_COUNT]; /* by VarId - VAR_SIZE_B: B, .., M0, .., offset */
extern const char *const tile_role_names[TENSOR_ROLE_COUNT];
extern const char *const tile_reduce_names[REDUCE_AND + 1];
extern const char *const tile_seq_names[SEQ_K_LENGTH + 1];
extern const char *const tile_type_names[TYPE_FLOAT + 1];   /* of params */

/* How tightly operators bind, and the level of an infix one (0 for others). */
enum {
    LEVEL_OR = 1,
    LEVEL_AND,
    LEVEL_NOT,
    LEVEL_COMPARE,
    LEVEL_ADD,
    LEVEL_MUL,
    LEVEL_NEG,
    LEVEL_POW,
    LEVEL_ATOM
};
int tile_infix_level(ExprOp op);
/* Names that mean something in an expression and are not a param's. */
bool tile_word_reserved(const Program *program, const char *word);
/* One instruction without its body, for messages; never fails, whatever is wrong with it. */
char *inst_text(const Program *program, const Inst *inst, Arena *arena);
char *type_text(const Program *program, const TileType *type, Arena *arena);

#endif
