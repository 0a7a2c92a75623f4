/* The files of the disk cache. Internal to cache*.c and its tests. */
#ifndef ATTUNE_CACHE_FILE_H
#define ATTUNE_CACHE_FILE_H

#include <sys/stat.h>

#include "runtime/cache.h"

#define CACHE_MAGIC "ATTUNE\r\n"
#define CACHE_SUFFIX ".kernel"
#define CACHE_LOCK_SUFFIX ".lock"
#define CACHE_FRESH ".new-"
enum { CACHE_FORMAT = 1, CACHE_MAX_PAYLOAD = 1 << 30, CACHE_NAME_BYTES = 96, CACHE_STRAY_SECONDS = 3600 };

typedef struct CacheHeader {
    char magic[8];
    uint32_t format, header_bytes;
    unsigned char key[CACHE_KEY_BYTES];
    uint64_t length;                    /* of the payload */
    CacheLabel label;
    unsigned char digest[CACHE_KEY_BYTES]; /* of the header with zeros here, and the payload's SHA-256 */
} CacheHeader;

void cache_file_name(const unsigned char *key, char name[CACHE_NAME_BYTES]);
/* NULL when all is well, else what is wrong. The first leaves the payload unread. */
const char *cache_read_header(int fd, const unsigned char *key, CacheHeader *header, struct stat *st);
const char *cache_read_entry(int fd, const unsigned char *key, CacheHeader *header, void **payload);

#endif
