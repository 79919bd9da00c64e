/*
 * coolchic.h: decoding .cool files (docs/bitstream.md) from C.
 *
 *     coolchic_info info = COOLCHIC_INFO_INIT;
 *     coolchic_decoder* decoder = coolchic_new();
 *     if (coolchic_open(decoder, file, file_size, NULL, &info) == COOLCHIC_OK) {
 *       samples = malloc(info.picture_bytes);
 *       status = coolchic_decode(decoder, samples, info.picture_bytes, 0);
 *     }
 *     if it failed: puts(coolchic_message(decoder));
 *     coolchic_free(decoder);
 *
 * No function prints, exits or lets a C++ exception out. Files may be hostile: a damaged one
 * gives an error, and nothing outside the buffers given is ever read or written.
 * A decoder may be used by one thread at a time; different ones are independent.
 */
#ifndef COOLCHIC_COOLCHIC_H
#define COOLCHIC_COOLCHIC_H

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32) && defined(COOLCHIC_SHARED)
#ifdef COOLCHIC_BUILDING
#define COOLCHIC_API __declspec(dllexport)
#else
#define COOLCHIC_API __declspec(dllimport)
#endif
#elif defined(__GNUC__)
#define COOLCHIC_API __attribute__((visibility("default")))
#else
#define COOLCHIC_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* What went wrong. The values never change; later versions may add some. */
typedef enum coolchic_status {
  COOLCHIC_OK = 0,
  COOLCHIC_NOT_COOLCHIC = 1,   /* no .cool file */
  COOLCHIC_UNSUPPORTED = 2,    /* valid, perhaps, but newer than this library */
  COOLCHIC_INVALID = 3,        /* breaks the rules of the format */
  COOLCHIC_TRUNCATED = 4,      /* ends early */
  COOLCHIC_TRAILING = 5,       /* bytes follow the end */
  COOLCHIC_CHECKSUM = 6,       /* the checksum differs */
  COOLCHIC_CORRUPT = 7,        /* the entropy-coded data is damaged */
  COOLCHIC_TOO_LARGE = 8,      /* more pixels than the options allow */
  COOLCHIC_BAD_ARGUMENT = 9,   /* the call is wrong, whatever the file */
  COOLCHIC_OUT_OF_MEMORY = 10, /* or out of another resource of the system */
  COOLCHIC_INTERNAL = 11       /* a defect of the library */
} coolchic_status;

/*
 * How to decode. Zero is the default of every field, so start from COOLCHIC_OPTIONS_INIT.
 * Later versions append fields; size tells which of them the caller knows. A library older
 * than its caller refuses a field that it does not know unless the field is zero.
 */
typedef struct coolchic_options {
  size_t size;         /* sizeof(coolchic_options) */
  uint64_t max_pixels; /* larger pictures are refused before memory is taken; 0: 2^27 */
  int threads;         /* 1 and more; 0: one per core. The samples do not depend on it. */
  int ignore_checksum; /* not 0: go on although the checksum differs */
  const char* cpu;     /* one of coolchic_cpu(): its kernels only; NULL: the fastest ones.
                          The samples do not depend on it. */
  int scale;           /* k > 0: a preview of 1/2^k of the size, rounded up, in little time;
                          at most that of the coarsest grid */
  int allow_partial;   /* not 0: take a file that ends within its latents, if at least one
                          grid is whole; those that are not count as zero */
} coolchic_options;

#define COOLCHIC_OPTIONS_INIT {sizeof(coolchic_options), 0, 0, 0, NULL, 0, 0}

/*
 * What is in a file. The library fills in the fields within size; of a caller newer than the
 * library it sets the rest to zero.
 */
typedef struct coolchic_info {
  size_t size;           /* sizeof(coolchic_info), set by the caller */
  uint32_t width;        /* pixels, 1 to 65536, of the preview if scale asks for one */
  uint32_t height;       /* likewise */
  uint32_t channels;     /* 1 grey, 2 grey + alpha, 3 RGB, 4 RGB + alpha */
  uint32_t bit_depth;    /* samples are 0 to 2^bit_depth - 1; 8 in versions 1 to 3 of the format */
  uint32_t version;      /* of the file's format */
  uint32_t sample_bytes; /* 1; 2, in the machine's byte order, for a bit_depth above 8 */
  uint32_t grids;        /* of latents, 1 to 16 */
  uint32_t partial;      /* 1: the file ends early, and allow_partial let it pass; else 0 */
  size_t row_bytes;      /* width * channels * sample_bytes */
  size_t picture_bytes;  /* height * row_bytes */
  size_t header_bytes;   /* of the file: signature, header, architecture, extensions */
  size_t weights_bytes;  /* of the file: parameters of both networks */
  size_t latents_bytes;  /* of the file: latent grids */
  size_t file_bytes;     /* all of it, with section lengths and checksum */
} coolchic_info;

#define COOLCHIC_INFO_INIT {sizeof(coolchic_info), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}

typedef struct coolchic_decoder coolchic_decoder;

/*
 * A new decoder, or NULL if there is no memory. The other functions take NULL as a decoder
 * that has run out of memory, so that the result need not be checked at once.
 */
COOLCHIC_API coolchic_decoder* coolchic_new(void);

/* Frees a decoder and all it holds. NULL is allowed. */
COOLCHIC_API void coolchic_free(coolchic_decoder* decoder);

/*
 * Takes a file: checks its header, section sizes and checksum, and keeps a copy. Decodes
 * nothing yet, so it is a cheap way to look at a file. A decoder may open one file after the
 * other; after a failure none is open.
 *
 *   data, size  the whole file
 *   options     NULL: the defaults. Copied, with the string that cpu points to.
 *   info        filled in on success and not touched otherwise; NULL: not wanted
 *
 * Any status but COOLCHIC_CORRUPT; COOLCHIC_BAD_ARGUMENT if data is NULL, size of options or
 * info smaller than in the first version of this header, threads or scale negative, or cpu
 * unknown to this machine. COOLCHIC_UNSUPPORTED also if scale is too large.
 */
COOLCHIC_API coolchic_status coolchic_open(coolchic_decoder* decoder, const void* data, size_t size,
                                           const coolchic_options* options, coolchic_info* info);

/*
 * Decodes the open file, as often as wanted.
 *
 *   samples  where they go: [height][width][channels], a row every stride bytes, the bytes
 *            between rows untouched. Of 2 bytes each, they must be aligned to 2 bytes.
 *   size     bytes that may be written there, at least (height - 1) * stride + row_bytes
 *   stride   at least row_bytes; 0: row_bytes
 *
 * COOLCHIC_OK; COOLCHIC_UNSUPPORTED, _INVALID, _TRUNCATED or _CORRUPT: the sections are
 * damaged; COOLCHIC_BAD_ARGUMENT: no file is open, samples is NULL, or size or stride too
 * small; COOLCHIC_OUT_OF_MEMORY. Unless it is COOLCHIC_OK, samples are of no use.
 */
COOLCHIC_API coolchic_status coolchic_decode(coolchic_decoder* decoder, void* samples, size_t size,
                                             size_t stride);

/*
 * One line in English on what the last call with this decoder found wrong, and where in the
 * file; empty after a success. Valid until the next call with it.
 */
COOLCHIC_API const char* coolchic_message(const coolchic_decoder* decoder);

/*
 * Names of the kernels that this machine can run, the fastest first, "scalar" last. NULL if
 * there are not more than index.
 */
COOLCHIC_API const char* coolchic_cpu(size_t index);

/* Version of the library, such as "0.1.0". */
COOLCHIC_API const char* coolchic_version(void);

#ifdef __cplusplus
}
#endif

#endif
