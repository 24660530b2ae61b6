// A view's reduction over the texts of a class, one text after the other.
#pragma once
#include "reduce.cuh"

namespace {

// The best k are found so many at a time: each round takes up where the last one ended.
constexpr unsigned BEST = 8;
constexpr float LARGEST = 3.4e38f;

struct WeightedSimilarityParams {
    unsigned width;
    // Elements from one text to the next.
    unsigned stride;
    // How many of a class's texts count: 0 for all of them, as a weighted sum.
    unsigned best;
    unsigned classes;
};

struct ClassReduction {
    float weighted = 0;  // Σ v·s
    float weights = 0;   // Σ v
    // The last text that was taken: the next ones are worse, or as good and further on.
    float last = LARGEST;
    unsigned last_text = 0;
    // This round's, sorted, and which texts they are.
    float values[BEST];
    unsigned texts[BEST];
    unsigned found;

    __device__ __forceinline__ void begin_round() { found = 0; }

    // `best` is the parameter, `taken` how many earlier rounds took.
    __device__ __forceinline__ void add(unsigned best, unsigned taken, unsigned text, float weight, float similarity) {
        if (best == 0) {
            weighted += weight * similarity;
            return;
        }
        const bool after = similarity < last || (similarity == last && text > last_text);
        // A text of weight 0 is masked out.
        if (weight == 0 || (taken > 0 && !after)) return;
        // Into the sorted list, behind its equals: they have the lower index. All places in order, so that the list
        // stays in registers.
        bool shift = false;
#pragma unroll
        for (unsigned place = 0; place < BEST; place++) {
            shift = shift || place >= found || similarity > values[place];
            if (!shift) continue;
            const float older = values[place];
            const unsigned older_text = texts[place];
            values[place] = similarity;
            texts[place] = text;
            similarity = older;
            text = older_text;
        }
        found = min(found + 1, BEST);
    }

    // `count`: how many of this round's still count.
    __device__ __forceinline__ void end_round(unsigned count, const float* text_weights) {
        count = min(found, count);
#pragma unroll
        for (unsigned i = 0; i < BEST; i++) {
            if (i >= count) continue;
            const float weight = text_weights[texts[i]];
            weighted += weight * values[i];
            weights += weight;
            last = values[i];
            last_text = texts[i];
        }
        // Fewer than a round holds: there are no more.
        if (found < BEST) {
            last = -LARGEST;
            last_text = 0xffffffffu;
        }
    }

    __device__ __forceinline__ float value(unsigned best) const {
        return best == 0 ? weighted : weights == 0 ? 0 : weighted / weights;
    }
};

}  // namespace
