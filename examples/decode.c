/* Decodes the .cool file argv[1] and writes its samples, without a header, to argv[2]. */
#include <coolchic/coolchic.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char** argv) {
  static unsigned char file[1 << 24];
  FILE* in = argc == 3 ? fopen(argv[1], "rb") : NULL;
  FILE* out = in ? fopen(argv[2], "wb") : NULL;
  size_t size = out ? fread(file, 1, sizeof file, in) : 0;

  coolchic_info info = COOLCHIC_INFO_INIT;
  coolchic_decoder* decoder = coolchic_new();
  void* samples = NULL;
  if (coolchic_open(decoder, file, size, NULL, &info) != COOLCHIC_OK ||
      !(samples = malloc(info.picture_bytes)) ||
      coolchic_decode(decoder, samples, info.picture_bytes, 0) != COOLCHIC_OK ||
      fwrite(samples, 1, info.picture_bytes, out) != info.picture_bytes || fclose(out) != 0)
    return fprintf(stderr, "decode: %s\n", coolchic_message(decoder)), EXIT_FAILURE;
  printf("%ux%u, %u channels\n", info.width, info.height, info.channels);
  coolchic_free(decoder);
  return EXIT_SUCCESS;
}
