#include "calls.h"

#include "state.h"

namespace driver {
namespace {

struct Noted {
    Call call;
    size_t bytes;
};

// Nothing is noted before somebody has asked for the first time.
struct Notes {
    bool wanted = false;
    std::vector<Noted> calls;
};

Notes& notes() {
    static auto& all = *new Notes;
    return all;
}

}  // namespace

void note(Call call, size_t bytes) {
    if (notes().wanted) notes().calls.push_back({call, bytes});
}

void note(const Work& work) {
    const auto* copy = std::get_if<CopyWork>(&work);
    if (copy == nullptr || copy->to_device == copy->from_device) return;
    note(copy->to_device ? Call::upload : Call::download, copy->bytes);
}

}  // namespace driver

using namespace driver;

// The calls since the last time, up to `room` of them: what each was, by its letter, and the bytes of a copy. Their number.
CUDA_API size_t simt_calls(char* letters, uint64_t* bytes, size_t room) {
    const Lock lock;
    Notes& noted = notes();
    const size_t count = noted.calls.size() < room ? noted.calls.size() : room;
    for (size_t i = 0; i < count; i++) {
        letters[i] = char(noted.calls[i].call);
        bytes[i] = noted.calls[i].bytes;
    }
    noted.calls.clear();
    noted.wanted = true;
    return count;
}
