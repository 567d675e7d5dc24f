// The receiver of every measurement: one UDP socket on loopback, kernel receive timestamps, headers
// written down as they are, nothing decrypted. It must never be what limits a run: it sleeps
// between batches, so that senders pay for no wake-ups, and the timestamps do not depend on when it
// reads.
//
// recorder OUT.bin SAMPLES.bin CAPACITY SECONDS
// Prints "port N", records until SIGTERM, SIGINT or SECONDS have passed, writes the files, and
// prints "end RECORDS OTHERS DROPS RCVBUF CPU_NS".
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { kBatch = 512, kDatagram = 1500, kSampleEvery = 997, kSamples = 512, kRtpHeader = 12 };

struct Record {  // as recorder.py reads it
    uint64_t time_ns;
    uint32_t ssrc;
    uint32_t timestamp;
    uint16_t sequence;
    uint16_t size;
    uint32_t zero;
};

static volatile sig_atomic_t stopping;
static void on_signal(int number) {
    (void)number;
    stopping = 1;
}

static int64_t now_ns(clockid_t clock) {
    struct timespec at;
    clock_gettime(clock, &at);
    return (int64_t)at.tv_sec * 1000000000 + at.tv_nsec;
}

static int die(const char* what) {
    fprintf(stderr, "recorder: %s: %s\n", what, strerror(errno));
    return 1;
}

static int open_socket(int* granted) {
    const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    const int on = 1;
    const int wanted = 64 << 20;
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &wanted, sizeof wanted) != 0) {
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &wanted, sizeof wanted);
    }
    socklen_t size = sizeof *granted;
    getsockopt(fd, SOL_SOCKET, SO_RCVBUF, granted, &size);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_RXQ_OVFL, &on, sizeof on) != 0 ||
        bind(fd, (struct sockaddr*)&address, sizeof address) != 0) {
        close(fd);
        return -1;
    }
    socklen_t length = sizeof address;
    getsockname(fd, (struct sockaddr*)&address, &length);
    printf("port %d\n", ntohs(address.sin_port));
    fflush(stdout);
    return fd;
}

static uint8_t payload[kBatch][kDatagram];
static uint8_t control[kBatch][128];
static struct iovec parts[kBatch];
static struct mmsghdr messages[kBatch];

static uint64_t read_control(struct msghdr* message, uint32_t* drops) {
    uint64_t at = 0;
    for (struct cmsghdr* c = CMSG_FIRSTHDR(message); c != NULL; c = CMSG_NXTHDR(message, c)) {
        if (c->cmsg_level != SOL_SOCKET) continue;
        if (c->cmsg_type == SCM_TIMESTAMPNS) {
            struct timespec when;
            memcpy(&when, CMSG_DATA(c), sizeof when);
            at = (uint64_t)when.tv_sec * 1000000000U + (uint64_t)when.tv_nsec;
        } else if (c->cmsg_type == SO_RXQ_OVFL) {
            memcpy(drops, CMSG_DATA(c), sizeof *drops);
        }
    }
    return at;
}

static uint32_t read_u32(const uint8_t* at) {
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return ntohl(value);
}

int main(int argc, char** argv) {
    if (argc != 5) {
        fprintf(stderr, "usage: recorder OUT.bin SAMPLES.bin CAPACITY SECONDS\n");
        return 2;
    }
    // Nobody is left behind when the benchmark dies.
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);

    const size_t capacity = strtoull(argv[3], NULL, 10);
    struct Record* records = mmap(NULL, capacity * sizeof *records, PROT_READ | PROT_WRITE,
                                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    uint8_t* samples = calloc(kSamples, kDatagram + 2);
    if (records == MAP_FAILED || samples == NULL) return die("memory");
    int granted = 0;
    const int fd = open_socket(&granted);
    if (fd < 0) return die("socket");

    const int64_t end = now_ns(CLOCK_MONOTONIC) + (int64_t)(strtod(argv[4], NULL) * 1e9);
    size_t count = 0, others = 0, sampled = 0;
    uint32_t drops = 0;
    while (1) {
        const int last_round = stopping || now_ns(CLOCK_MONOTONIC) > end;
        for (int i = 0; i < kBatch; ++i) {
            parts[i] = (struct iovec){payload[i], kDatagram};
            messages[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i],
                                                  .msg_iovlen = 1,
                                                  .msg_control = control[i],
                                                  .msg_controllen = sizeof control[i]};
        }
        const int got = recvmmsg(fd, messages, kBatch, MSG_DONTWAIT, NULL);
        for (int i = 0; i < got; ++i) {
            const uint8_t* data = payload[i];
            const unsigned size = messages[i].msg_len;
            const uint64_t at = read_control(&messages[i].msg_hdr, &drops);
            if (size < kRtpHeader || data[0] != 0x80 || data[1] != 0x78 || count == capacity) {
                ++others;
                continue;
            }
            records[count] = (struct Record){.time_ns = at,
                                             .ssrc = read_u32(data + 8),
                                             .timestamp = read_u32(data + 4),
                                             .sequence = (uint16_t)(data[2] << 8 | data[3]),
                                             .size = (uint16_t)size};
            if (count % kSampleEvery == 0 && sampled < kSamples) {
                uint8_t* into = samples + sampled++ * (kDatagram + 2);
                const uint16_t length = (uint16_t)size;
                memcpy(into, &length, 2);
                memcpy(into + 2, data, size);
            }
            ++count;
        }
        if (got < kBatch) {
            if (last_round) break;
            const struct timespec pause = {.tv_nsec = 2000000};
            nanosleep(&pause, NULL);
        }
    }
    close(fd);

    FILE* out = fopen(argv[1], "wb");
    FILE* out_samples = fopen(argv[2], "wb");
    if (out == NULL || out_samples == NULL) return die("output");
    if (fwrite(records, sizeof *records, count, out) != count ||
        fwrite(samples, kDatagram + 2, sampled, out_samples) != sampled || fclose(out) != 0 ||
        fclose(out_samples) != 0) {
        return die("writing");
    }
    printf("end %zu %zu %u %d %lld\n", count, others, drops, granted,
           (long long)now_ns(CLOCK_PROCESS_CPUTIME_ID));
    return 0;
}
