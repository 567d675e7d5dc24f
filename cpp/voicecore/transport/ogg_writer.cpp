#include "voicecore/transport/ogg_writer.hpp"

#include <fcntl.h>
#include <ogg/ogg.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <string_view>

#include "voicecore/audio/opus_packet.hpp"

namespace voicecore::transport {
namespace {

constexpr std::int64_t kMaxPreSkip = 65'535;  // 16 bits in the header

Error invalid(std::string message) {
    return {Errc::invalid_argument, 0, std::move(message)};
}

Error open_error(const std::string& path, int error) {
    const std::string what = "cannot write '" + path + "': ";
    switch (error) {
        case ENOENT:
            return {Errc::not_found, error, what + "its directory does not exist"};
        case EISDIR:
            return {Errc::is_directory, error, what + "it is a directory, expected a file"};
        case EACCES:
        case EPERM:
        case EROFS:
            return {Errc::permission, error, what + system_message(error)};
        default:
            return {Errc::io, error, what + system_message(error)};
    }
}

bool valid_utf8(std::string_view text) noexcept {
    for (std::size_t i = 0; i < text.size();) {
        const auto lead = static_cast<unsigned char>(text[i]);
        const std::size_t length = lead < 0x80                   ? 1
                                   : lead >= 0xC2 && lead < 0xE0 ? 2
                                   : lead >= 0xE0 && lead < 0xF0 ? 3
                                   : lead >= 0xF0 && lead < 0xF5 ? 4
                                                                 : 0;
        if (length == 0 || i + length > text.size()) return false;
        for (std::size_t k = 1; k < length; ++k) {
            if ((static_cast<unsigned char>(text[i + k]) & 0xC0U) != 0x80) return false;
        }
        if (length > 2) {  // overlong forms, surrogates and what lies beyond U+10FFFF
            const auto second = static_cast<unsigned char>(text[i + 1]);
            if ((lead == 0xE0 && second < 0xA0) || (lead == 0xED && second > 0x9F) ||
                (lead == 0xF0 && second < 0x90) || (lead == 0xF4 && second > 0x8F)) {
                return false;
            }
        }
        i += length;
    }
    return true;
}

// RFC 7845 section 5.2: printable ASCII without '='.
bool valid_field_name(std::string_view name) noexcept {
    return !name.empty() && std::all_of(name.begin(), name.end(),
                                        [](char c) { return c >= 0x20 && c <= 0x7D && c != '='; });
}

Status check(const OggOptions& options) {
    if (options.path.empty()) return invalid("no path: expected the name of a file");
    if (options.pre_skip.count() < 0 || options.pre_skip.count() > kMaxPreSkip) {
        return invalid("pre-skip of " + std::to_string(options.pre_skip.count()) +
                       " samples: expected 0 to " + std::to_string(kMaxPreSkip));
    }
    if (options.channels != 1 && options.channels != 2) {
        return invalid(std::to_string(options.channels) + " channels: expected 1 or 2");
    }
    if (options.page_packets < 1 || options.page_packets > 250) {
        return invalid(std::to_string(options.page_packets) +
                       " packets in a page: expected 1 to 250");
    }
    if (!valid_utf8(options.vendor)) return invalid("the vendor string is not UTF-8");
    for (const auto& [name, value] : options.comments) {
        if (!valid_field_name(name)) {
            return invalid("tag name '" + name + "': expected printable ASCII without '='");
        }
        if (!valid_utf8(value)) return invalid("tag " + name + ": the value is not UTF-8");
    }
    return Done{};
}

class HeaderBytes {
  public:
    void text(std::string_view value) { bytes_.insert(bytes_.end(), value.begin(), value.end()); }
    void little_endian(std::uint32_t value, int bytes) {
        for (int i = 0; i < bytes; ++i) {
            bytes_.push_back(static_cast<std::uint8_t>(value >> (8 * i)));
        }
    }
    void counted(std::string_view value) {
        little_endian(static_cast<std::uint32_t>(value.size()), 4);
        text(value);
    }
    [[nodiscard]] std::span<const std::uint8_t> bytes() const noexcept { return bytes_; }

  private:
    std::vector<std::uint8_t> bytes_;
};

HeaderBytes identification_header(const OggOptions& options) {  // section 5.1
    HeaderBytes out;
    out.text("OpusHead");
    out.little_endian(1, 1);  // version
    out.little_endian(static_cast<std::uint32_t>(options.channels), 1);
    out.little_endian(static_cast<std::uint32_t>(options.pre_skip.count()), 2);
    out.little_endian(options.input_rate, 4);
    out.little_endian(0, 2);  // output gain
    out.little_endian(0, 1);  // channel mapping family: mono or stereo
    return out;
}

HeaderBytes comment_header(const OggOptions& options) {  // section 5.2
    HeaderBytes out;
    out.text("OpusTags");
    out.counted(options.vendor);
    out.little_endian(static_cast<std::uint32_t>(options.comments.size()), 4);
    for (const auto& [name, value] : options.comments) {
        out.counted(std::string{name}.append("=").append(value));
    }
    return out;
}

}  // namespace

struct OggWriter::Stream {
    ogg_stream_state state{};
};

void OggWriter::FreeStream::operator()(Stream* stream) const noexcept {
    ::ogg_stream_clear(&stream->state);
    const std::default_delete<Stream> free;
    free(stream);
}

OggWriter::OggWriter(OggOptions options, Fd fd, std::unique_ptr<Stream, FreeStream> stream)
    : options_{std::move(options)}, fd_{std::move(fd)}, stream_{std::move(stream)} {}
OggWriter::OggWriter(OggWriter&&) noexcept = default;
OggWriter& OggWriter::operator=(OggWriter&&) noexcept = default;
OggWriter::~OggWriter() = default;

Result<OggWriter> OggWriter::open(OggOptions options) {
    if (auto checked = check(options); !checked) return std::move(checked).error();
    constexpr mode_t kMode = 0666;  // before the umask
    Fd fd{::open(options.path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, kMode)};
    if (!fd) return open_error(options.path, errno);
    std::unique_ptr<Stream, FreeStream> stream{std::make_unique<Stream>().release()};
    if (::ogg_stream_init(&stream->state, static_cast<int>(options.serial)) != 0) {
        return Error{Errc::no_memory, 0, "no memory for an Ogg stream"};
    }
    return OggWriter{std::move(options), std::move(fd), std::move(stream)};
}

Status OggWriter::write(std::span<const std::uint8_t> packet, int media, int samples) {
    // Held back are the last packet, which carries the end mark, and the run of partial ones that
    // may have to be cut.
    media = std::clamp(media, 0, samples);
    if (media == samples) {
        in_head_ = false;
        if (auto submitted = submit_held(held_.size()); !submitted) return submitted;
    }
    held_.push_back({.opus = {packet.begin(), packet.end()}, .media = media, .samples = samples});
    if (in_head_) {
        head_lacks_ += samples - media;
        head_media_ += media;
    }
    constexpr std::size_t kMostHeld = 8;
    return held_.size() > kMostHeld ? submit_held(1) : Status{Done{}};
}

Status OggWriter::flush() {
    return write_pages();
}

Status OggWriter::finish() {
    if (!fd_) return Done{};
    if (held_.empty()) {
        // A stream must have audio; this one ends where its pre-skip does.
        held_.push_back({.opus = {audio::kSilenceFrame.begin(), audio::kSilenceFrame.end()},
                         .media = 0,
                         .samples = kFrameSamples});
    }
    std::int64_t written = granule_;
    for (const Held& held : held_) written += held.samples;
    const std::int64_t end = media_end(written);
    length_ = Samples{std::max<std::int64_t>(end - options_.pre_skip.count(), 0)};
    // Packets of which nothing would be left do not belong into the file.
    while (held_.size() > 1 && written - held_.back().samples >= end) {
        written -= held_.back().samples;
        held_.pop_back();
    }
    if (auto submitted = submit_held(held_.size() - 1); !submitted) return submitted;
    if (auto submitted = submit(held_.front().opus, end, true); !submitted) return submitted;
    held_.clear();
    if (auto written_pages = write_pages(); !written_pages) return written_pages;
    if (fd_.reset() != 0) return write_error(errno);
    return Done{};
}

std::int64_t OggWriter::media_end(std::int64_t written) const noexcept {
    if (held_.back().media == held_.back().samples) return written;
    const std::int64_t pre_skip = options_.pre_skip.count();
    std::int64_t end =
        head_media_ + pre_skip;  // when no packet was whole, both ways of counting agree
    if (!in_head_) {
        end = granule_ + (head_lacks_ == pre_skip ? 0 : pre_skip);
        for (const Held& held : held_) end += held.media;
    }
    return std::clamp(end, granule_, written);
}

Status OggWriter::submit_held(std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
        granule_ += held_[i].samples;
        if (auto submitted = submit(held_[i].opus, granule_, false); !submitted) return submitted;
    }
    held_.erase(held_.begin(), held_.begin() + static_cast<std::ptrdiff_t>(count));
    return Done{};
}

Status OggWriter::submit(std::span<const std::uint8_t> packet, std::int64_t granule, bool last) {
    if (packet_number_ == 0) {
        if (auto written = write_headers(); !written) return written;
    }
    ogg_packet out{};
    out.packet = const_cast<unsigned char*>(packet.data());  // libogg copies and does not write
    out.bytes = static_cast<long>(packet.size());
    out.b_o_s = packet_number_ == 0 ? 1 : 0;
    out.e_o_s = last ? 1 : 0;
    out.granulepos = granule;
    out.packetno = packet_number_++;
    if (::ogg_stream_packetin(&stream_->state, &out) != 0) {
        return Error{Errc::no_memory, 0, "no memory for a packet of '" + options_.path + "'"};
    }
    return ++on_page_ >= options_.page_packets ? write_pages() : Status{Done{}};
}

Status OggWriter::empty_file() {
    if (!fd_) return Error{Errc::closed, 0, "'" + options_.path + "' is closed"};
    // Pipes and devices hold nothing to be emptied.
    if (::ftruncate(fd_.get(), 0) != 0 && errno != EINVAL) return write_error(errno);
    return Done{};
}

// Each header has pages of its own (RFC 7845 section 3).
Status OggWriter::write_headers() {
    if (auto emptied = empty_file(); !emptied) return emptied;
    for (const HeaderBytes& header : {identification_header(options_), comment_header(options_)}) {
        ogg_packet out{};
        out.packet = const_cast<unsigned char*>(header.bytes().data());
        out.bytes = static_cast<long>(header.bytes().size());
        out.b_o_s = packet_number_ == 0 ? 1 : 0;
        out.packetno = packet_number_++;
        if (::ogg_stream_packetin(&stream_->state, &out) != 0) {
            return Error{Errc::no_memory, 0, "no memory for the header of '" + options_.path + "'"};
        }
        if (auto written = write_pages(); !written) return written;
    }
    return Done{};
}

Status OggWriter::write_pages() {
    on_page_ = 0;
    ogg_page page{};
    std::vector<std::uint8_t> bytes;
    while (::ogg_stream_flush(&stream_->state, &page) != 0) {
        bytes.assign(page.header, page.header + page.header_len);
        bytes.insert(bytes.end(), page.body, page.body + page.body_len);
        if (auto written = write_all(bytes); !written) return written;
    }
    return Done{};
}

Status OggWriter::write_all(std::span<const std::uint8_t> bytes) {
    if (!fd_) return Error{Errc::closed, 0, "'" + options_.path + "' is closed"};
    std::size_t done = 0;
    while (done < bytes.size()) {
        const auto n = ::write(fd_.get(), bytes.data() + done, bytes.size() - done);
        if (n > 0) {
            done += static_cast<std::size_t>(n);
        } else if (n < 0 && errno != EINTR) {
            return write_error(errno);
        }
    }
    file_bytes_ += static_cast<std::int64_t>(bytes.size());
    return Done{};
}

Error OggWriter::write_error(int error) {
    if (fd_) {
        // Back to whole pages; where that does not work (a pipe), readers have to resynchronise.
        const int cut = ::ftruncate(fd_.get(), file_bytes_);
        static_cast<void>(cut);
        fd_.reset();
    }
    return {Errc::io, error, "writing '" + options_.path + "': " + system_message(error)};
}

}  // namespace voicecore::transport
