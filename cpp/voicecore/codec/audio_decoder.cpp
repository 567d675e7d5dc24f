#include "voicecore/codec/audio_decoder.hpp"

#include <cerrno>

#include "voicecore/audio/media_source.hpp"
#include "voicecore/codec/allow_list.hpp"
#include "voicecore/codec/native_error.hpp"

namespace voicecore::codec {
namespace {

Samples warm_up_of(AVCodecID id, int rate) noexcept {
    const auto packets = [rate](int count, int samples) {
        return Samples{av_rescale_rnd(static_cast<std::int64_t>(count) * samples, kSampleRate, rate,
                                      AV_ROUND_UP)};
    };
    switch (id) {
        case AV_CODEC_ID_MP3:
            return packets(32, 1152);  // at 8 kbit/s the bit reservoir reaches back 20 frames
        case AV_CODEC_ID_AAC:
        case AV_CODEC_ID_AAC_LATM:
            return packets(8, 1024);  // overlap, and the band replication's envelope
        case AV_CODEC_ID_VORBIS:
            return packets(2, 8192);  // the largest block
        case AV_CODEC_ID_OPUS:
            return audio::kOpusPreroll;
        case AV_CODEC_ID_MP1:
        case AV_CODEC_ID_MP2:
        case AV_CODEC_ID_AC3:
        case AV_CODEC_ID_EAC3:
            return packets(3, 1536);
        case AV_CODEC_ID_ADPCM_IMA_WAV:
        case AV_CODEC_ID_ADPCM_MS:
        case AV_CODEC_ID_ADPCM_IMA_QT:
            return Samples{0};  // every block carries its own state
        default:
            return Samples{0};
    }
}

}  // namespace

Result<std::unique_ptr<AudioDecoder>> AudioDecoder::open(const Segment& segment) {
    const AVCodecParameters& parameters = *segment.parameters;
    const std::string name = avcodec_get_name(parameters.codec_id);
    const AVCodec* codec = allowed_decoder(parameters.codec_id);
    if (codec == nullptr) {
        return Error{Errc::unsupported, 0,
                     "the codec " + name + " is not one that is decoded here"};
    }
    auto decoder = std::make_unique<AudioDecoder>();
    decoder->context_.reset(avcodec_alloc_context3(codec));
    decoder->packet_.reset(av_packet_alloc());
    decoder->frame_.reset(av_frame_alloc());
    AVCodecContext* context = decoder->context_.get();
    if (context == nullptr || !decoder->packet_ || !decoder->frame_ ||
        avcodec_parameters_to_context(context, &parameters) < 0) {
        return error_from_av(AVERROR(ENOMEM), name);
    }
    context->thread_count = 1;  // feeders are the parallelism; frame threads only add delay
    context->flags2 |= AV_CODEC_FLAG2_SKIP_MANUAL;  // trimming is ours
    context->pkt_timebase = {1, segment.rate};
    if (const int code = avcodec_open2(context, codec, nullptr); code < 0) {
        return error_from_av(code, "the " + name + " decoder");
    }
    decoder->rate_ = segment.rate;
    decoder->warm_up_ = warm_up_of(parameters.codec_id, segment.rate);
    return decoder;
}

bool AudioDecoder::send(const Packet& packet) noexcept {
    // Without a buffer of its own, so that libavcodec makes the padded copy that it needs.
    packet_->data = const_cast<std::uint8_t*>(packet.data.data());
    packet_->size = static_cast<int>(packet.data.size());
    packet_->pts = packet_->dts = packet.start == kNoTick ? AV_NOPTS_VALUE : packet.start;
    packet_->duration = packet.duration;
    const int code = avcodec_send_packet(context_.get(), packet_.get());
    packet_->data = nullptr;
    packet_->size = 0;
    return code >= 0;
}

void AudioDecoder::send_end() noexcept {
    avcodec_send_packet(context_.get(), nullptr);
}

DecodeStatus AudioDecoder::receive() noexcept {
    for (;;) {
        const int code = avcodec_receive_frame(context_.get(), frame_.get());
        if (code == AVERROR(EAGAIN)) return DecodeStatus::needs_packet;
        if (code == AVERROR_EOF) return DecodeStatus::end;
        if (code < 0) return DecodeStatus::damaged;
        if (frame_->nb_samples > 0 && frame_->sample_rate > 0) return DecodeStatus::frame;
    }
}

std::int64_t AudioDecoder::frame_start() const noexcept {
    if (frame_->pts == AV_NOPTS_VALUE) return kNoTick;
    if (frame_->sample_rate == rate_) return frame_->pts;
    return av_rescale(frame_->pts, frame_->sample_rate, rate_);
}

void AudioDecoder::flush() noexcept {
    avcodec_flush_buffers(context_.get());
}

}  // namespace voicecore::codec
