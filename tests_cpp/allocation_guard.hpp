// AllocationGuard: counts what the calling thread allocates through operator new while it lives.
//
// Exactly one .cpp of a test binary that uses it defines VOICECORE_ALLOCATION_GUARD_DEFINE before
// the include: that one replaces the global operators (replacements cannot be inline). Memory that
// C libraries take from malloc is not seen; none of ours is called on the frame path.
#pragma once

#include <cstddef>
#include <cstdint>

namespace voicecore_test {

// Allocations of the calling thread so far.
[[nodiscard]] std::uint64_t thread_allocations() noexcept;

// Only for the thread that made it.
class AllocationGuard {
  public:
    AllocationGuard() noexcept : before_{thread_allocations()} {}
    [[nodiscard]] std::uint64_t count() const noexcept { return thread_allocations() - before_; }

  private:
    std::uint64_t before_;
};

}  // namespace voicecore_test

#ifdef VOICECORE_ALLOCATION_GUARD_DEFINE

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define VOICECORE_ALLOCATION_GUARD_HOOKS
#endif
#endif

namespace voicecore_test::detail {

// Constant-initialised and trivial, so that reading it allocates nothing itself.
inline thread_local std::uint64_t allocations = 0;

}  // namespace voicecore_test::detail

std::uint64_t voicecore_test::thread_allocations() noexcept {
    return detail::allocations;
}

#ifdef VOICECORE_ALLOCATION_GUARD_HOOKS

#include <sanitizer/allocator_interface.h>

namespace voicecore_test::detail {

inline const int hooks_installed = ::__sanitizer_install_malloc_and_free_hooks(
    [](const volatile void*, std::size_t) { ++allocations; }, [](const volatile void*) {});

}  // namespace voicecore_test::detail

#else

#include <cstdlib>
#include <new>

namespace voicecore_test::detail {

inline void* count_and_allocate(std::size_t size, std::size_t alignment) noexcept {
    ++allocations;
    if (size == 0) size = 1;
    if (alignment <= alignof(std::max_align_t)) return std::malloc(size);  // NOLINT
    void* out = nullptr;
    return ::posix_memalign(&out, alignment, size) == 0 ? out : nullptr;
}

inline void* allocate_or_throw(std::size_t size, std::size_t alignment) {
    void* out = count_and_allocate(size, alignment);
    if (out == nullptr) throw std::bad_alloc{};
    return out;
}

}  // namespace voicecore_test::detail

// The array, nothrow and sized forms of the library end in these (new.cc and friends), except for
// the aligned ones and those that a compiler may inline; all are spelled out to be sure.
void* operator new(std::size_t size) {
    return voicecore_test::detail::allocate_or_throw(size, alignof(std::max_align_t));
}
void* operator new[](std::size_t size) {
    return voicecore_test::detail::allocate_or_throw(size, alignof(std::max_align_t));
}
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
    return voicecore_test::detail::count_and_allocate(size, alignof(std::max_align_t));
}
void* operator new[](std::size_t size, const std::nothrow_t&) noexcept {
    return voicecore_test::detail::count_and_allocate(size, alignof(std::max_align_t));
}
void* operator new(std::size_t size, std::align_val_t alignment) {
    return voicecore_test::detail::allocate_or_throw(size, static_cast<std::size_t>(alignment));
}
void* operator new[](std::size_t size, std::align_val_t alignment) {
    return voicecore_test::detail::allocate_or_throw(size, static_cast<std::size_t>(alignment));
}
void operator delete(void* p) noexcept {
    std::free(p);
}  // NOLINT
void operator delete[](void* p) noexcept {
    std::free(p);
}  // NOLINT
void operator delete(void* p, std::size_t) noexcept {
    std::free(p);
}  // NOLINT
void operator delete[](void* p, std::size_t) noexcept {
    std::free(p);
}  // NOLINT
void operator delete(void* p, const std::nothrow_t&) noexcept {
    std::free(p);
}  // NOLINT
void operator delete[](void* p, const std::nothrow_t&) noexcept {
    std::free(p);
}  // NOLINT
void operator delete(void* p, std::align_val_t) noexcept {
    std::free(p);
}  // NOLINT
void operator delete[](void* p, std::align_val_t) noexcept {
    std::free(p);
}  // NOLINT
void operator delete(void* p, std::size_t, std::align_val_t) noexcept {
    std::free(p);
}  // NOLINT
void operator delete[](void* p, std::size_t, std::align_val_t) noexcept {
    std::free(p);
}  // NOLINT

#endif  // VOICECORE_ALLOCATION_GUARD_HOOKS
#endif  // VOICECORE_ALLOCATION_GUARD_DEFINE
