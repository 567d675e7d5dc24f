// The key functions of the ports: one vtable each, in the shared library.
#include "voicecore/audio/packet_sink.hpp"
#include "voicecore/audio/packet_source.hpp"

namespace voicecore::audio {

MediaSource::~MediaSource() = default;
ByteInput::~ByteInput() = default;
PacketSource::~PacketSource() = default;
SinkListener::~SinkListener() = default;
PacketSink::~PacketSink() = default;

}  // namespace voicecore::audio
