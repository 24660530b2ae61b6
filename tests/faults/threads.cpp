// For LD_PRELOAD: starting a thread fails after the first THREADS ones.
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>

#include <atomic>
#include <cstdlib>

extern "C" __attribute__((visibility("default"))) int pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                                                                      void *(*start)(void *), void *data) {
    using Create = int (*)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    static const auto create = reinterpret_cast<Create>(dlsym(RTLD_NEXT, "pthread_create"));
    static std::atomic<int> left{atoi(getenv("THREADS"))};
    return left-- > 0 ? create(thread, attributes, start, data) : EAGAIN;
}
