#include "voicecore/codec/allow_list.hpp"

namespace voicecore::codec {
namespace {

// Calls `visit` for each comma-separated word until it returns true.
template <class Visit>
bool any_word(std::string_view list, Visit visit) noexcept {
    while (!list.empty()) {
        const auto comma = list.find(',');
        if (visit(list.substr(0, comma))) return true;
        if (comma == std::string_view::npos) break;
        list.remove_prefix(comma + 1);
    }
    return false;
}

}  // namespace

bool allowed(std::string_view name, std::string_view list) noexcept {
    return any_word(name, [list](std::string_view alias) {
        return any_word(list, [alias](std::string_view word) { return word == alias; });
    });
}

const AVCodec* allowed_decoder(AVCodecID id) noexcept {
    // libopus before FFmpeg's own decoder: the reference, and it follows the header gain exactly.
    if (id == AV_CODEC_ID_OPUS) {
        if (const AVCodec* reference = avcodec_find_decoder_by_name("libopus")) return reference;
    }
    void* state = nullptr;
    while (const AVCodec* codec = av_codec_iterate(&state)) {
        if (codec->id == id && av_codec_is_decoder(codec) != 0 && allowed(codec->name, kDecoders)) {
            return codec;
        }
    }
    return nullptr;
}

}  // namespace voicecore::codec
