/* Writing a relocatable ELF object by hand: header, four sections and their table.
 *
 *     .rodata           the bytes
 *     .symtab           nothing; the symbol
 *     .strtab           names, of sections too
 *     .note.GNU-stack   empty: the object needs no executable stack */
#include "runtime/aot_object.h"

#include <elf.h>
#include <stdlib.h>
#include <string.h>

enum { DATA = 1, SYMBOLS, STRINGS, STACK, SECTIONS, ALIGN = 64 };

#if defined(__x86_64__)
enum { MACHINE = EM_X86_64 };
#elif defined(__aarch64__)
enum { MACHINE = EM_AARCH64 };
#else
enum { MACHINE = EM_NONE };
#endif

static const char section_names[] = "\0.rodata\0.symtab\0.strtab\0.note.GNU-stack";
enum { NAME_DATA = 1, NAME_SYMBOLS = 9, NAME_STRINGS = 17, NAME_STACK = 25 };

static size_t align_up(size_t size)
{
    return (size + ALIGN - 1) & ~(size_t)(ALIGN - 1);
}

void *aot_object(const char *symbol, const void *bytes, size_t size, size_t *object_size)
{
    if (MACHINE == EM_NONE || size > ((size_t)1 << 40))
        return NULL;
    size_t strings_size = sizeof section_names + strlen(symbol) + 1;
    size_t data_at = align_up(sizeof(Elf64_Ehdr)), symbols_at = align_up(data_at + size);
    size_t strings_at = symbols_at + 2 * sizeof(Elf64_Sym), table_at = align_up(strings_at + strings_size);
    *object_size = table_at + SECTIONS * sizeof(Elf64_Shdr);
    char *object = calloc(1, *object_size);
    if (!object)
        return NULL;

    Elf64_Ehdr head = {.e_type = ET_REL, .e_machine = MACHINE, .e_version = EV_CURRENT, .e_shoff = table_at,
                       .e_ehsize = sizeof head, .e_shentsize = sizeof(Elf64_Shdr), .e_shnum = SECTIONS,
                       .e_shstrndx = STRINGS};
    memcpy(head.e_ident, ELFMAG, SELFMAG);
    head.e_ident[EI_CLASS] = ELFCLASS64;
    head.e_ident[EI_DATA] = ELFDATA2LSB;
    head.e_ident[EI_VERSION] = EV_CURRENT;
    Elf64_Sym symbols[2] = {{0},
                            {.st_name = sizeof section_names,
                             .st_info = ELF64_ST_INFO(STB_GLOBAL, STT_OBJECT),
                             .st_shndx = DATA,
                             .st_size = size}};
    Elf64_Shdr sections[SECTIONS] = {
        [DATA] = {.sh_name = NAME_DATA,
                  .sh_type = SHT_PROGBITS,
                  .sh_flags = SHF_ALLOC,
                  .sh_offset = data_at,
                  .sh_size = size,
                  .sh_addralign = ALIGN},
        [SYMBOLS] = {.sh_name = NAME_SYMBOLS,
                     .sh_type = SHT_SYMTAB,
                     .sh_offset = symbols_at,
                     .sh_size = sizeof symbols,
                     .sh_link = STRINGS,
                     .sh_info = 1 /* the first global */,
                     .sh_addralign = 8,
                     .sh_entsize = sizeof symbols[0]},
        [STRINGS] = {.sh_name = NAME_STRINGS,
                     .sh_type = SHT_STRTAB,
                     .sh_offset = strings_at,
                     .sh_size = strings_size,
                     .sh_addralign = 1},
        [STACK] = {.sh_name = NAME_STACK,
                   .sh_type = SHT_PROGBITS,
                   .sh_offset = strings_at,
                   .sh_addralign = 1},
    };
    memcpy(object, &head, sizeof head);
    memcpy(object + data_at, bytes, size);
    memcpy(object + symbols_at, symbols, sizeof symbols);
    memcpy(object + strings_at, section_names, sizeof section_names);
    strcpy(object + strings_at + sizeof section_names, symbol);
    memcpy(object + table_at, sections, sizeof sections);
    return object;
}
