// The library calls that playing an mp3 cannot do without, and nothing else: demux, decode,
// resample to 48 kHz stereo, encode to 20 ms Opus packets. The physical limit that voicecore is
// held against.
//
// bare cpu FILE BITRATE COMPLEXITY PERIOD_US FRAMES BATCH
//     encodes FRAMES packets (0: the whole file), one every PERIOD_US (0: at once), BATCH in a row
// bare memory-transcode FILE BITRATE COMPLEXITY N
//     N of it at once, some packets each
// bare memory-demux FILE N
//     N open Opus demuxers, some packets each
// bare send PORT N SECONDS
//     N streams' datagrams, one each 20 ms, in twenty groups 1 ms apart, through connected sockets
//
// bare sendmmsg PORT N SECONDS
//     the same datagrams through one socket, each group in one call: what batches would save
//
// bare late PORT N SECONDS
//     as send, and how late each send() is called
//
// Prints "frames N cpu_ns N wall_ns N", "rss_before KIB rss_after KIB", "sent N cpu_ns N" or
// "p50_ns N p99_ns N p99_9_ns N max_ns N".
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/channel_layout.h>
#include <libswresample/swresample.h>
#include <netinet/in.h>
#include <opus.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { kRate = 48000, kChannels = 2, kFrame = 960, kRoom = 16384, kPackets = 150 };

struct Transcoder {
    AVFormatContext* format;
    AVCodecContext* decoder;
    SwrContext* resampler;
    OpusEncoder* encoder;
    AVPacket* packet;
    AVFrame* frame;
    int stream;
    float* pcm;  // kRoom samples of both channels
    int have;
    int ended;
};

static int64_t now_ns(clockid_t clock) {
    struct timespec at;
    clock_gettime(clock, &at);
    return (int64_t)at.tv_sec * 1000000000 + at.tv_nsec;
}

static void check(int code, const char* what) {
    if (code >= 0) return;
    fprintf(stderr, "bare: %s: %s\n", what, av_err2str(code));
    exit(1);
}

static void open_demuxer(struct Transcoder* t, const char* file) {
    check(avformat_open_input(&t->format, file, NULL, NULL), "opening");
    check(avformat_find_stream_info(t->format, NULL), "probing");
    t->stream = av_find_best_stream(t->format, AVMEDIA_TYPE_AUDIO, -1, -1, NULL, 0);
    check(t->stream, "finding audio");
    t->packet = av_packet_alloc();
}

static void open_transcoder(struct Transcoder* t, const char* file, int bitrate, int complexity) {
    open_demuxer(t, file);
    const AVCodecParameters* parameters = t->format->streams[t->stream]->codecpar;
    const AVCodec* codec = avcodec_find_decoder(parameters->codec_id);
    t->decoder = avcodec_alloc_context3(codec);
    check(avcodec_parameters_to_context(t->decoder, parameters), "parameters");
    t->decoder->thread_count = 1;
    check(avcodec_open2(t->decoder, codec, NULL), "opening the decoder");
    t->frame = av_frame_alloc();
    AVChannelLayout stereo = AV_CHANNEL_LAYOUT_STEREO;
    check(swr_alloc_set_opts2(&t->resampler, &stereo, AV_SAMPLE_FMT_FLT, kRate,
                              &t->decoder->ch_layout, t->decoder->sample_fmt,
                              t->decoder->sample_rate, 0, NULL),
          "resampler");
    check(swr_init(t->resampler), "resampler");
    int error = 0;
    t->encoder = opus_encoder_create(kRate, kChannels, OPUS_APPLICATION_AUDIO, &error);
    check(error, "opus");
    opus_encoder_ctl(t->encoder, OPUS_SET_BITRATE(bitrate));
    opus_encoder_ctl(t->encoder, OPUS_SET_COMPLEXITY(complexity));
    opus_encoder_ctl(t->encoder, OPUS_SET_VBR(1));
    opus_encoder_ctl(t->encoder, OPUS_SET_VBR_CONSTRAINT(0));
    t->pcm = malloc(sizeof(float) * kRoom * kChannels);
}

static int read_packet(struct Transcoder* t) {
    while (1) {
        const int code = av_read_frame(t->format, t->packet);
        if (code < 0) return 0;
        if (t->packet->stream_index == t->stream) return 1;
        av_packet_unref(t->packet);
    }
}

static void decode_some(struct Transcoder* t) {
    if (read_packet(t)) {
        check(avcodec_send_packet(t->decoder, t->packet), "decoding");
        av_packet_unref(t->packet);
    } else {
        t->ended = 1;
        avcodec_send_packet(t->decoder, NULL);
    }
    while (avcodec_receive_frame(t->decoder, t->frame) == 0) {
        uint8_t* into = (uint8_t*)(t->pcm + t->have * kChannels);
        const int got = swr_convert(t->resampler, &into, kRoom - t->have,
                                    (const uint8_t**)t->frame->extended_data, t->frame->nb_samples);
        check(got, "resampling");
        t->have += got;
    }
}

static int next_packet(struct Transcoder* t, uint8_t* out, int room) {
    while (t->have < kFrame && !t->ended) decode_some(t);
    if (t->have < kFrame) return 0;
    const int size = opus_encode_float(t->encoder, t->pcm, kFrame, out, room);
    check(size, "encoding");
    t->have -= kFrame;
    memmove(t->pcm, t->pcm + kFrame * kChannels, sizeof(float) * (size_t)(t->have * kChannels));
    return size;
}

static void close_transcoder(struct Transcoder* t) {
    opus_encoder_destroy(t->encoder);
    swr_free(&t->resampler);
    avcodec_free_context(&t->decoder);
    av_frame_free(&t->frame);
    av_packet_free(&t->packet);
    avformat_close_input(&t->format);
    free(t->pcm);
}

static long rss_kib(void) {
    long pages = 0, resident = 0;
    FILE* file = fopen("/proc/self/statm", "r");
    if (file == NULL || fscanf(file, "%ld %ld", &pages, &resident) != 2) exit(1);
    fclose(file);
    return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

static int cpu(char** argv) {
    struct Transcoder t = {0};
    uint8_t out[1500];
    const long period = atol(argv[5]);
    const long limit = atol(argv[6]);
    const long batch = atol(argv[7]);
    open_transcoder(&t, argv[2], atoi(argv[3]), atoi(argv[4]));
    const int64_t cpu0 = now_ns(CLOCK_PROCESS_CPUTIME_ID);
    const int64_t began = now_ns(CLOCK_MONOTONIC);
    long frames = 0;
    while ((limit == 0 || frames < limit) && next_packet(&t, out, sizeof out) > 0) {
        ++frames;
        if (period == 0 || frames % batch != 0) continue;
        const int64_t due = began + frames * period * 1000;
        const struct timespec at = {.tv_sec = due / 1000000000, .tv_nsec = due % 1000000000};
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
    }
    printf("frames %ld cpu_ns %lld wall_ns %lld\n", frames,
           (long long)(now_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu0),
           (long long)(now_ns(CLOCK_MONOTONIC) - began));
    close_transcoder(&t);
    return 0;
}

static int memory_transcode(char** argv) {
    const int count = atoi(argv[5]);
    uint8_t out[1500];
    struct Transcoder first = {0};
    open_transcoder(&first, argv[2], atoi(argv[3]), atoi(argv[4]));
    for (int i = 0; i < kPackets; ++i) next_packet(&first, out, sizeof out);
    close_transcoder(&first);
    struct Transcoder* all = calloc((size_t)count, sizeof *all);
    const long before = rss_kib();
    for (int n = 0; n < count; ++n) open_transcoder(&all[n], argv[2], atoi(argv[3]), atoi(argv[4]));
    for (int i = 0; i < kPackets; ++i) {
        for (int n = 0; n < count; ++n) next_packet(&all[n], out, sizeof out);
    }
    printf("rss_before %ld rss_after %ld\n", before, rss_kib());
    for (int n = 0; n < count; ++n) close_transcoder(&all[n]);
    free(all);
    return 0;
}

static int memory_demux(char** argv) {
    const int count = atoi(argv[3]);
    struct Transcoder* all = calloc((size_t)count + 1, sizeof *all);
    open_demuxer(&all[count], argv[2]);
    for (int i = 0; i < kPackets && read_packet(&all[count]); ++i) {
        av_packet_unref(all[count].packet);
    }
    const long before = rss_kib();
    for (int n = 0; n < count; ++n) open_demuxer(&all[n], argv[2]);
    for (int i = 0; i < kPackets; ++i) {
        for (int n = 0; n < count && read_packet(&all[n]); ++n) av_packet_unref(all[n].packet);
    }
    printf("rss_before %ld rss_after %ld\n", before, rss_kib());
    for (int n = 0; n <= count; ++n) {
        av_packet_free(&all[n].packet);
        avformat_close_input(&all[n].format);
    }
    free(all);
    return 0;
}

static int by_value(const void* left, const void* right) {
    const int64_t a = *(const int64_t*)left;
    const int64_t b = *(const int64_t*)right;
    return (a > b) - (a < b);
}

static void print_lateness(int64_t* late, long count) {
    qsort(late, (size_t)count, sizeof *late, by_value);
    const long last = count - 1;
    printf("p50_ns %lld p99_ns %lld p99_9_ns %lld max_ns %lld\n", (long long)late[last / 2],
           (long long)late[last * 99 / 100], (long long)late[last * 999 / 1000],
           (long long)late[last]);
}

static int send_only(char** argv) {
    enum { kGroups = 20, kDatagram = 12 + 320 + 16 + 4 };
    const int count = atoi(argv[3]);
    const double seconds = strtod(argv[4], NULL);
    const long room = (long)(seconds * 1000 + 1) * (count / kGroups + 1);
    int64_t* late = strcmp(argv[1], "late") == 0 ? calloc((size_t)room, sizeof *late) : NULL;
    if (strcmp(argv[1], "late") == 0 && late == NULL) return 1;
    const struct sched_param lowest = {.sched_priority = 1};
    sched_setscheduler(0, SCHED_FIFO, &lowest);  // as voicecore's clock, where allowed
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)atoi(argv[2])),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int* sockets = calloc((size_t)count, sizeof *sockets);
    for (int i = 0; i < count; ++i) {
        sockets[i] = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        if (connect(sockets[i], (struct sockaddr*)&to, sizeof to) != 0) return 1;
    }
    uint8_t datagram[kDatagram] = {0x80, 0x78};
    const int batched = strcmp(argv[1], "sendmmsg") == 0;
    struct iovec part = {datagram, sizeof datagram};
    struct mmsghdr* group_of = calloc((size_t)(count / kGroups + 1), sizeof *group_of);
    for (int i = 0; i <= count / kGroups; ++i) {
        group_of[i].msg_hdr = (struct msghdr){.msg_iov = &part, .msg_iovlen = 1};
    }
    const int64_t cpu0 = now_ns(CLOCK_PROCESS_CPUTIME_ID);
    const int64_t began = now_ns(CLOCK_MONOTONIC);
    long sent = 0;
    for (long turn = 0; turn < (long)(seconds * 1000); ++turn) {
        const int64_t due = began + turn * 1000000;
        const struct timespec at = {.tv_sec = due / 1000000000, .tv_nsec = due % 1000000000};
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
        const long group = turn % kGroups;
        const long first = group * count / kGroups;
        const long end = (group + 1) * count / kGroups;
        if (batched) {
            sent += sendmmsg(sockets[0], group_of, (unsigned)(end - first), MSG_DONTWAIT);
            continue;
        }
        for (long i = first; i < end; ++i) {
            if (late != NULL) late[sent] = now_ns(CLOCK_MONOTONIC) - due;
            sent += send(sockets[i], datagram, sizeof datagram, MSG_DONTWAIT) > 0;
        }
    }
    if (late != NULL) {
        if (sent == 0) return 1;
        print_lateness(late, sent);
        return 0;
    }
    printf("sent %ld cpu_ns %lld\n", sent, (long long)(now_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu0));
    return 0;
}

int main(int argc, char** argv) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    av_log_set_level(AV_LOG_ERROR);
    if (argc == 8 && strcmp(argv[1], "cpu") == 0) return cpu(argv);
    if (argc == 6 && strcmp(argv[1], "memory-transcode") == 0) return memory_transcode(argv);
    if (argc == 4 && strcmp(argv[1], "memory-demux") == 0) return memory_demux(argv);
    if (argc == 5 && (strncmp(argv[1], "send", 4) == 0 || strcmp(argv[1], "late") == 0)) {
        return send_only(argv);
    }
    fprintf(stderr, "usage: see the head of bare.c\n");
    return 2;
}
