// A libvulkan.so.1 in front of the real loader, whose calls fail as the environment says. No headers are needed: every
// call that can fail takes at most eight integers or pointers and returns a VkResult.
//
//   FAULTS         as rules.h says; skip is for vkQueueSubmit: it reports success without running the commands
//   FAULTS_TRACE   also a line "full" for each allocation that does not fit
//   FAULTS_TYPE    the device's VkPhysicalDeviceType: 2 passes a software driver off as a GPU
//   FAULTS_MEMORY  bytes of device memory in all
#include <dlfcn.h>

#include <cstdint>
#include <utility>

#include "rules.h"

namespace {

using Word = intptr_t;
using Call = Word (*)(Word, Word, Word, Word, Word, Word, Word, Word);
using Lookup = void *(*)(void *, const char *);

constexpr int CODE_OUT_OF_DEVICE_MEMORY = -2;

// VkSubmitInfo.
struct Submit {
    uint32_t type;
    const void *next;
    uint32_t waits;
    const void *wait_semaphores, *wait_stages;
    uint32_t commands;
    const void *command_buffers;
    uint32_t signals;
    const void *signal_semaphores;
};

constexpr const char *CAN_FAIL[] = {
    "vkAllocate", "vkBegin", "vkBind", "vkCreate", "vkDeviceWaitIdle", "vkEnd", "vkEnumeratePhysicalDevices", "vkFlush",
    "vkGetFenceStatus", "vkGetPipelineCacheData", "vkGetQueryPoolResults", "vkGetSemaphoreCounterValue",
    "vkInvalidate", "vkMapMemory", "vkQueueSubmit", "vkQueueWaitIdle", "vkReset", "vkWait",
};

// The intercepted functions. A name that is looked up for the instance and for the device stands for two.
struct Slot {
    std::string name;
    Call real;
};
constexpr int SLOTS = 192;
Slot slots[SLOTS];
int used;
std::map<uint64_t, uint64_t> allocated;
uint64_t held;
std::mutex mutex;

Word answer(const Slot &slot, Word a, Word b, Word c, Word d, Word e, Word f, Word g, Word h) {
    int result = decide(slot.name);
    if (result == SKIP) {
        Submit submits[8];
        int count = b < 8 ? int(b) : 8;
        memcpy(submits, reinterpret_cast<void *>(c), count * sizeof(Submit));
        for (int i = 0; i < count; i++) submits[i].commands = 0;
        return slot.real(a, count, reinterpret_cast<Word>(submits), d, e, f, g, h);
    }
    if (result) return result;
    const char *memory = getenv("FAULTS_MEMORY");
    if (!memory || slot.name != "vkAllocateMemory") return slot.real(a, b, c, d, e, f, g, h);
    // VkMemoryAllocateInfo.allocationSize
    uint64_t size = reinterpret_cast<uint64_t *>(b)[2];
    std::lock_guard<std::mutex> guard(mutex);
    if (held + size > strtoull(memory, nullptr, 10)) {
        if (getenv("FAULTS_TRACE")) fprintf(stderr, "full\n");
        return CODE_OUT_OF_DEVICE_MEMORY;
    }
    Word code = slot.real(a, b, c, d, e, f, g, h);
    if (int32_t(code) == 0) held += allocated[*reinterpret_cast<uint64_t *>(d)] = size;
    return code;
}

template <int I>
Word intercepted(Word a, Word b, Word c, Word d, Word e, Word f, Word g, Word h) {
    return answer(slots[I], a, b, c, d, e, f, g, h);
}
template <int... I>
Call nth_intercepted(int n, std::integer_sequence<int, I...>) {
    static const Call all[] = {intercepted<I>...};
    return all[n];
}

void (*real_free)(void *, uint64_t, const void *);
void free_memory(void *device, uint64_t memory, const void *allocator) {
    {
        std::lock_guard<std::mutex> guard(mutex);
        auto found = allocated.find(memory);
        if (found != allocated.end()) {
            held -= found->second;
            allocated.erase(found);
        }
    }
    real_free(device, memory, allocator);
}

// VkPhysicalDeviceProperties.deviceType is the fifth number; the second version has a header of 16 bytes.
void set_type(char *properties) {
    if (const char *type = getenv("FAULTS_TYPE")) reinterpret_cast<uint32_t *>(properties)[4] = atoi(type);
}
void (*real_properties)(void *, char *);
void properties(void *device, char *found) {
    real_properties(device, found);
    set_type(found);
}
void (*real_properties2)(void *, char *);
void properties2(void *device, char *found) {
    real_properties2(device, found);
    set_type(found + 16);
}

Lookup real_instance, real_device;
void *wrap(const char *name, void *real) {
    if (!real) return real;
    std::string text = name;
    auto replace = [real](auto &kept, auto *mine) {
        kept = reinterpret_cast<std::remove_reference_t<decltype(kept)>>(real);
        return reinterpret_cast<void *>(mine);
    };
    if (text == "vkFreeMemory") return replace(real_free, free_memory);
    if (text == "vkGetPhysicalDeviceProperties") return replace(real_properties, properties);
    if (text == "vkGetPhysicalDeviceProperties2" || text == "vkGetPhysicalDeviceProperties2KHR")
        return replace(real_properties2, properties2);
    for (const char *prefix : CAN_FAIL) {
        if (text.compare(0, strlen(prefix), prefix)) continue;
        std::lock_guard<std::mutex> guard(mutex);
        if (used == SLOTS) {
            fprintf(stderr, "FAULTS: too many functions\n");
            _Exit(99);
        }
        slots[used] = {text, reinterpret_cast<Call>(real)};
        return reinterpret_cast<void *>(nth_intercepted(used++, std::make_integer_sequence<int, SLOTS>()));
    }
    return real;
}

void *device_lookup(void *device, const char *name) { return wrap(name, real_device(device, name)); }

}  // namespace

extern "C" __attribute__((visibility("default"))) void *vkGetInstanceProcAddr(void *instance, const char *name) {
    if (!real_instance) {
        void *loader = dlopen(REAL, RTLD_NOW | RTLD_LOCAL);
        if (!loader) {
            fprintf(stderr, "FAULTS: %s\n", dlerror());
            _Exit(99);
        }
        real_instance = reinterpret_cast<Lookup>(dlsym(loader, "vkGetInstanceProcAddr"));
    }
    void *found = real_instance(instance, name);
    if (!strcmp(name, "vkGetInstanceProcAddr")) return reinterpret_cast<void *>(vkGetInstanceProcAddr);
    if (strcmp(name, "vkGetDeviceProcAddr") || !found) return wrap(name, found);
    real_device = reinterpret_cast<Lookup>(found);
    return reinterpret_cast<void *>(device_lookup);
}
