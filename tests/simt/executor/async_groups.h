// What a thread started that goes on without it, cp.async or TMA stores, in groups that it commits and waits for.
#pragma once

#include <cstddef>
#include <vector>

namespace simt {

// Operations in their order, since none was under way last.
template <typename T>
class AsyncGroups {
public:
    void start(const T& operation) { started_.push_back(operation); }

    void commit() { ends_.push_back(started_.size()); }

    // Calls `complete` for each operation of the oldest groups, until at most `groups_under_way` are left.
    template <typename Complete>
    void wait(unsigned groups_under_way, Complete complete) {
        if (ends_.size() - groups_done_ <= groups_under_way) return;
        groups_done_ = ends_.size() - groups_under_way;
        for (const size_t end = ends_[groups_done_ - 1]; done_ < end; done_++) complete(started_[done_]);
        if (groups_done_ == ends_.size() && done_ == started_.size()) clear();
    }

    // The first operation that was not waited for; nullptr if there is none.
    const T* first_under_way() const { return done_ == started_.size() ? nullptr : &started_[done_]; }

    void clear() {
        started_.clear();
        ends_.clear();
        done_ = groups_done_ = 0;
    }

private:
    std::vector<T> started_;
    size_t done_ = 0;
    // Of each committed group, the number of operations up to its end.
    std::vector<size_t> ends_;
    size_t groups_done_ = 0;
};

}  // namespace simt
