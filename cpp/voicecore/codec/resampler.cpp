#include "voicecore/codec/resampler.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <numeric>
#include <string_view>

#include "voicecore/base/units.hpp"
#include "voicecore/codec/native_error.hpp"

namespace voicecore::codec {
namespace {

constexpr int kMostChannels = 64;

// A layout that libswresample has a mixing rule for, or unspecified when it has none.
AVChannelLayout plain_layout(const AVChannelLayout& given) noexcept {
    AVChannelLayout layout{};
    if (given.order == AV_CHANNEL_ORDER_NATIVE) {
        av_channel_layout_from_mask(&layout, given.u.mask);
    } else {
        av_channel_layout_default(&layout, given.nb_channels);
    }
    return layout;
}

// Channels in turn to left and right, at a level where all of them together stay below full scale.
std::vector<double> alternate(int channels) {
    const auto count = static_cast<std::size_t>(channels);
    std::vector<double> matrix(count * kChannels, 0.0);
    const int on_the_left = (channels + 1) / 2;
    const double level = 1.0 / on_the_left;
    for (std::size_t i = 0; i < count; ++i) matrix[(i % 2) * count + i] = level;
    return matrix;
}

// By where the loudspeakers stand: those on the left and right to their side, those between to
// both, the subwoofer to none, all of it below full scale. Where a side would have nothing, both
// get everything.
std::vector<double> by_position(const AVChannelLayout& layout) {
    const auto count = static_cast<std::size_t>(layout.nb_channels);
    std::vector<double> matrix(count * kChannels, 0.0);
    std::array<double, kChannels> sums{};
    for (std::size_t i = 0; i < count; ++i) {
        std::array<char, 32> name{};
        const AVChannel channel =
            av_channel_layout_channel_from_index(&layout, static_cast<unsigned>(i));
        av_channel_name(name.data(), name.size(), channel);
        const std::string_view position{name.data()};
        if (position.starts_with("LFE")) continue;
        const bool left = position.find('L') != std::string_view::npos;
        const bool right = position.find('R') != std::string_view::npos;
        for (std::size_t side = 0; side < kChannels; ++side) {
            if (left != right && left != (side == 0)) continue;
            const double level = left != right ? 1.0 : M_SQRT1_2;
            matrix[side * count + i] = level;
            sums[side] += level;
        }
    }
    double most = std::max(sums[0], sums[1]);
    if (std::min(sums[0], sums[1]) == 0.0) {
        matrix.assign(count * kChannels, 1.0);
        most = static_cast<double>(count);
    }
    for (double& level : matrix) level /= most;
    return matrix;
}

}  // namespace

Status check_rate(int rate) {
    if (rate >= kLowestRate && rate <= kHighestRate) return Done{};
    return Error{Errc::unsupported, rate,
                 "a sample rate of " + std::to_string(rate) + " Hz; " +
                     std::to_string(kLowestRate) + " to " + std::to_string(kHighestRate) +
                     " Hz were expected"};
}

std::int64_t Resampler::period(int rate) noexcept {
    return rate / std::gcd(rate, kSampleRate);
}

std::int64_t Resampler::memory(int rate) noexcept {
    constexpr std::int64_t kTaps = 64;  // twice the filter's length, which grows with the rate
    return kTaps * std::max<std::int64_t>(1, (rate + kSampleRate - 1) / kSampleRate);
}

bool Resampler::matches(const AVFrame& frame) const noexcept {
    if (!configured() || frame.sample_rate != rate_ || frame.format != format_) return false;
    if (frame.ch_layout.nb_channels != layout_.nb_channels) return false;
    return frame.ch_layout.order != AV_CHANNEL_ORDER_NATIVE ||
           layout_.order != AV_CHANNEL_ORDER_NATIVE || frame.ch_layout.u.mask == layout_.u.mask;
}

Status Resampler::configure(const AVFrame& like) {
    reset();
    rate_ = like.sample_rate;
    format_ = like.format;
    layout_ = plain_layout(like.ch_layout);
    const int channels = like.ch_layout.nb_channels;
    if (channels < 1 || channels > kMostChannels) {
        return Error{Errc::unsupported, channels,
                     std::to_string(channels) + " channels; 1 to 64 were expected"};
    }
    if (auto checked = check_rate(rate_); !checked) return checked;
    const AVChannelLayout stereo = AV_CHANNEL_LAYOUT_STEREO;
    copies_ = rate_ == kSampleRate && format_ == AV_SAMPLE_FMT_FLT &&
              av_channel_layout_compare(&layout_, &stereo) == 0;
    if (copies_) return Done{};
    std::vector<double> matrix;
    if (channels == 1) {
        matrix = {1.0, 1.0};
    } else if (layout_.order != AV_CHANNEL_ORDER_NATIVE) {
        matrix = alternate(channels);
    }
    int code = begin(matrix);
    // libswresample has rules for the common layouts only.
    if (code == AVERROR(EINVAL) && matrix.empty()) code = begin(by_position(layout_));
    if (code == AVERROR(EINVAL)) {
        return Error{Errc::unsupported, channels,
                     std::to_string(channels) + " channels in a layout that cannot be mixed"};
    }
    if (code < 0) return error_from_av(code, "resampler");
    return Done{};
}

// An empty matrix: as libswresample mixes the layout. A code of FFmpeg's.
int Resampler::begin(const std::vector<double>& matrix) {
    AVChannelLayout stereo = AV_CHANNEL_LAYOUT_STEREO;  // not const for FFmpeg 5.1's sake
    SwrContext* raw = nullptr;
    int code = swr_alloc_set_opts2(&raw, &stereo, AV_SAMPLE_FMT_FLT, kSampleRate, &layout_,
                                   static_cast<AVSampleFormat>(format_), rate_, 0, nullptr);
    swr_.reset(raw);
    if (code < 0) return code;
    // More channels than two are mixed so that the sum cannot exceed full scale.
    av_opt_set_double(raw, "rematrix_maxval", 1.0, 0);
    // The rates whose ratio is a small fraction get exactly its phases, which makes seeking exact.
    av_opt_set_int(raw, "exact_rational", 1, 0);
    if (!matrix.empty()) code = swr_set_matrix(raw, matrix.data(), layout_.nb_channels);
    if (code >= 0) code = swr_init(raw);
    if (code < 0) swr_.reset();
    return code;
}

Status Resampler::convert(const std::uint8_t** in, int count, std::vector<float>& out) {
    const int room = swr_get_out_samples(swr_.get(), count);
    if (room < 0) return error_from_av(room, "resampler");
    const std::size_t before = out.size();
    out.resize(before + static_cast<std::size_t>(room) * kChannels);
    auto* into = reinterpret_cast<std::uint8_t*>(out.data() + before);
    const int got = swr_convert(swr_.get(), &into, room, in, count);
    out.resize(before + static_cast<std::size_t>(std::max(got, 0)) * kChannels);
    if (got < 0) return error_from_av(got, "resampler");
    return Done{};
}

Status Resampler::push(const AVFrame& frame, int first, int count, std::vector<float>& out) {
    const auto format = static_cast<AVSampleFormat>(frame.format);
    const int channels = frame.ch_layout.nb_channels;
    const std::ptrdiff_t width = av_get_bytes_per_sample(format);
    if (copies_) {
        const auto* from = reinterpret_cast<const float*>(frame.extended_data[0]) +
                           static_cast<std::ptrdiff_t>(first) * kChannels;
        out.insert(out.end(), from, from + static_cast<std::ptrdiff_t>(count) * kChannels);
        return Done{};
    }
    std::array<const std::uint8_t*, kMostChannels> planes{};
    const bool planar = av_sample_fmt_is_planar(format) != 0;
    for (int i = 0; i < (planar ? channels : 1); ++i) {
        planes[static_cast<std::size_t>(i)] =
            frame.extended_data[i] + first * width * (planar ? 1 : channels);
    }
    return convert(planes.data(), count, out);
}

Status Resampler::push_silence(int count, std::vector<float>& out) {
    if (copies_) {
        out.insert(out.end(), static_cast<std::size_t>(count) * kChannels, 0.0F);
        return Done{};
    }
    // It comes out with the next push().
    if (const int code = swr_inject_silence(swr_.get(), count); code < 0) {
        return error_from_av(code, "resampler");
    }
    return Done{};
}

Status Resampler::flush(std::vector<float>& out) {
    if (copies_) return Done{};
    return convert(nullptr, 0, out);
}

}  // namespace voicecore::codec
