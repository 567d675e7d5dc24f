#include "voicecore/codec/open_demuxer.hpp"

#include "voicecore/codec/allow_list.hpp"
#include "voicecore/codec/flac_demuxer.hpp"
#include "voicecore/codec/frame_demuxer.hpp"
#include "voicecore/codec/ogg_demuxer.hpp"
#include "voicecore/codec/probe.hpp"

namespace voicecore::codec {
namespace {

// The demuxers of ours do not know the name.
template <class D>
Result<std::unique_ptr<Demuxer>> named(Result<std::unique_ptr<D>> opened, const std::string& name) {
    if (opened) return std::unique_ptr<Demuxer>{std::move(opened).value()};
    Error error = std::move(opened).error();
    if (!error.message.starts_with(name)) error.message = name + ": " + error.message;
    return error;
}

Error refused_playlist(const std::string& kind, const DemuxRules& rules) {
    std::string words = rules.name + " is a playlist (" + kind + ")";
    if (rules.playlists.open || (rules.asked && kind != "hls")) {
        words += "; only HLS playlists are followed";
    } else if (rules.asked) {
        words += "; playlists are followed only from http:// and https:// addresses";
    } else {
        words += ", which may name any file or address; playlists are opened only when allowed";
    }
    return {Errc::refused, 0, std::move(words)};
}

}  // namespace

Result<std::unique_ptr<Demuxer>> open_demuxer(ByteReader reader, const DemuxRules& rules) {
    auto probed = probe(reader);
    if (!probed) return std::move(probed).error();
    const ProbeResult& seen = probed.value();
    switch (seen.looks) {
        case Looks::empty:
            return Error{Errc::unsupported, 0, rules.name + " is empty; a media file was expected"};
        case Looks::ogg:
            return named(OggDemuxer::open(std::move(reader)), rules.name);
        case Looks::frames:
            return named(FrameDemuxer::open(std::move(reader)), rules.name);
        case Looks::container:
            if (allowed("flac", seen.format->name)) {
                return named(FlacDemuxer::open(std::move(reader), *seen.format, rules.name),
                             rules.name);
            }
            return named(ContainerDemuxer::open(std::move(reader), *seen.format, rules.name, {}),
                         rules.name);
        case Looks::playlist:
            if (rules.playlists.open && seen.words == "hls") {
                return named(ContainerDemuxer::open(std::move(reader), *seen.format, rules.base,
                                                    rules.playlists),
                             rules.name);
            }
            return refused_playlist(seen.words, rules);
        case Looks::foreign:
            return Error{Errc::unsupported, 0,
                         rules.name + " looks like \"" + seen.words +
                             "\", which is not a format that is opened here"};
        case Looks::unknown:
            break;
    }
    return Error{Errc::unsupported, 0,
                 rules.name + " is not audio that is known here; it looks like " + seen.words};
}

}  // namespace voicecore::codec
