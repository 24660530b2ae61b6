// A view's reduction over the texts of a class, one text after the other.
#pragma once
#include "reduce.cuh"

namespace {

// The best k are selected BEST at a time: each round continues where the last one ended.
constexpr unsigned BEST = 8;
constexpr float LARGEST = 3.4e38f;

struct WeightedSimilarityParams {
    unsigned width;
    // Leading dimension: elements from one text to the next.
    unsigned stride;
    // How many of a class's texts count: 0 for all of them, as a weighted sum.
    unsigned best;
    unsigned classes;
};

struct ClassReduction {
    float weighted = 0;  // Σ v·s
    float weights = 0;   // Σ v
    // The last text that was selected: later ones have a lower similarity, or the same one and a higher index.
    float last = LARGEST;
    unsigned last_text = 0;
    // This round's best similarities, sorted, and their texts.
    float values[BEST];
    unsigned texts[BEST];
    unsigned found;

    __device__ __forceinline__ void begin_round() { found = 0; }

    // Adds a text; `best` is the kernel's parameter, `taken` how many texts earlier rounds selected.
    __device__ __forceinline__ void add(unsigned best, unsigned taken, unsigned text, float weight, float similarity) {
        if (best == 0) {
            weighted += weight * similarity;
            return;
        }
        const bool after = similarity < last || (similarity == last && text > last_text);
        // A text of weight 0 is masked out.
        if (weight == 0 || (taken > 0 && !after)) return;
        // Inserts the text into the sorted list behind its equals, which have lower indices. Goes through all places,
        // so that the list stays in registers.
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

    // Adds this round's best `count` texts to the sums.
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
        // The round is not full: no text is left.
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
