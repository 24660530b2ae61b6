// f16 and bf16 to f32 and back.
#include "../kernel/half.h"

#include <cstring>

#ifdef __F16C__
#include <immintrin.h>
#endif

namespace simt {
namespace {

uint32_t bits_of(float x) {
    uint32_t bits;
    memcpy(&bits, &x, 4);
    return bits;
}

float of_bits(uint32_t bits) {
    float x;
    memcpy(&x, &bits, 4);
    return x;
}

}  // namespace

#ifdef __F16C__

float half_to_float(uint16_t bits) { return _cvtsh_ss(bits); }
uint16_t float_to_half(float x) { return _cvtss_sh(x, _MM_FROUND_TO_NEAREST_INT); }

#else

float half_to_float(uint16_t bits) {
    const uint32_t sign = uint32_t(bits & 0x8000) << 16;
    const uint32_t magnitude = bits & 0x7fff;
    // Infinity and NaN; all others, subnormals too, are exact as a product.
    if (magnitude >= 0x7c00) return of_bits(sign | 0x7f800000 | (magnitude & 0x3ff) << 13);
    return of_bits(sign | bits_of(of_bits(magnitude << 13) * 0x1p112f));
}

uint16_t float_to_half(float x) {
    const uint16_t sign = bits_of(x) >> 16 & 0x8000;
    const uint32_t magnitude = bits_of(x) & 0x7fffffff;
    if (magnitude > 0x7f800000) return sign | 0x7e00;
    if (magnitude >= 0x477ff000) return sign | 0x7c00;
    // The last bit of 0.5f is that of a subnormal f16, 2^-24, so that the sum rounds there.
    if (magnitude < 0x38800000) return sign | (bits_of(of_bits(magnitude) + 0.5f) - bits_of(0.5f));
    const uint32_t odd = magnitude >> 13 & 1;
    return sign | (magnitude - (112 << 23) + 0xfff + odd) >> 13;
}

#endif

float bfloat16_to_float(uint16_t bits) { return of_bits(uint32_t(bits) << 16); }

uint16_t float_to_bfloat16(float x) {
    const uint32_t bits = bits_of(x);
    if ((bits & 0x7fffffff) > 0x7f800000) return 0x7fff;
    return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

}  // namespace simt
