/* A load client that sends each request's head and body in two packets, which wrk cannot.
 *
 *     twice ADDRESS PORT CONNECTIONS SECONDS        with LOAD_HOST, LOAD_PATH and LOAD_BODY in the environment
 *
 * POSTs on kept connections, one open request each, by one thread. Two packets that leave one behind the other would be read
 * as one by a proxy that is busy. So a body is held back until as many other heads have gone out as there are half of the
 * connections: by then the proxy has answered as many requests, and read the head. Half of the connections have a request
 * that is sent by half, the others one that is sent whole; latency counts from the body.
 *
 * Answers are checked: 2xx, and whole by Content-Length or chunked coding. The first that is cut, malformed or early ends the
 * run. Prints one line of JSON, as load.lua does. Only 127.0.0.0/8 gets load.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <linux/tcp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    LONGEST = 64 * 1024,       /* answer, head and body */
    SLOWEST = 4 * 1000 * 1000, /* microseconds; what takes longer is counted as that, but for the maximum */
    MOST = 256                 /* connections */
};

struct connection {
    int fd;
    int64_t sent; /* when the body went out; 0 before that */
    size_t have;
    char answer[LONGEST + 1];
};

struct answer {
    int status;
    int last; /* the server closes the connection behind it */
};

static struct sockaddr_in server;
static const char *body;
static char *head;
static size_t head_length, body_length;
static int poller;
static uint64_t requests, refused, broken, packets;
static int64_t slowest;
static uint32_t took[SLOWEST + 1];
static struct connection *halves[MOST]; /* whose body is held back, in order: a ring */
static unsigned first_half, next_half, most_halves;

static void die(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

static void die(const char *format, ...)
{
    va_list values;
    va_start(values, format);
    fputs("twice: ", stderr);
    vfprintf(stderr, format, values);
    fputc('\n', stderr);
    exit(2);
}

static int64_t now(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec * 1000000LL + at.tv_nsec / 1000;
}

/* A connection's life */

static void open_connection(struct connection *c)
{
    int on = 1;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    c->have = 0;
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&server, sizeof server))
        die("no connection to port %d: %s", ntohs(server.sin_port), strerror(errno));
    if (setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) || epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &event))
        die("a connection cannot be set up: %s", strerror(errno));
}

static void close_connection(struct connection *c)
{
    struct tcp_info info = {0};
    socklen_t size = sizeof info;
    if (getsockopt(c->fd, IPPROTO_TCP, TCP_INFO, &info, &size) == 0)
        packets += info.tcpi_data_segs_out;
    close(c->fd);
    c->fd = -1;
}

static void lose(struct connection *c)
{
    broken++;
    close_connection(c);
}

static void send_piece(struct connection *c, const char *piece, size_t length)
{
    if (send(c->fd, piece, length, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)length)
        lose(c);
}

/* Answers. Each of these gives a length, 0 when more must come first, or -1 when it is no answer. */

static ssize_t chunks(const char *from, const char *end)
{
    for (const char *at = from;;) {
        char *after;
        const char *line_end = memmem(at, end - at, "\r\n", 2);
        if (!line_end)
            return 0;
        unsigned long size = strtoul(at, &after, 16);
        if (!isxdigit((unsigned char)*at) || size > LONGEST || (after != line_end && *after != ';'))
            return -1;
        if (size == 0) { /* trailers, if any, up to an empty line */
            const char *trailers_end = memmem(line_end, end - line_end, "\r\n\r\n", 4);
            return trailers_end ? trailers_end + 4 - from : 0;
        }
        at = line_end + 2 + size;
        if (end - at < 2)
            return 0;
        if (memcmp(at, "\r\n", 2))
            return -1;
        at += 2;
    }
}

static const char *field(const char *line, const char *name)
{
    size_t length = strlen(name);
    if (strncasecmp(line, name, length) || line[length] != ':')
        return NULL;
    return line + length + 1 + strspn(line + length + 1, " \t");
}

static ssize_t parse(const char *from, const char *end, struct answer *answer)
{
    int chunked = 0;
    long length = -1;
    const char *value, *head_end = memmem(from, end - from, "\r\n\r\n", 4);
    if (!head_end)
        return 0;
    if (sscanf(from, "HTTP/1.1 %3d", &answer->status) != 1)
        return -1;
    answer->last = 0;
    for (const char *line = strstr(from, "\r\n"); line && line < head_end; line = strstr(line, "\r\n")) {
        line += 2;
        if ((value = field(line, "content-length")))
            length = isdigit((unsigned char)*value) ? strtol(value, NULL, 10) : LONGEST + 1;
        else if ((value = field(line, "transfer-encoding")))
            chunked = !strncasecmp(value, "chunked\r\n", 9);
        else if ((value = field(line, "connection")))
            answer->last = !strncasecmp(value, "close\r\n", 7);
    }
    head_end += 4;
    if (answer->status == 204)
        length = 0;
    if (chunked) {
        ssize_t rest = chunks(head_end, end);
        return rest > 0 ? head_end - from + rest : rest;
    }
    if (length < 0 || length > LONGEST)
        return -1;
    return end - head_end >= length ? head_end - from + length : 0;
}

/* Takes what has come. 1 when that ends the answer, so that the next request can go out. */
static int receive(struct connection *c)
{
    struct answer answer;
    ssize_t got = recv(c->fd, c->answer + c->have, LONGEST - c->have, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (got <= 0) { /* closed, cut, or longer than fits */
        lose(c);
        return 0;
    }
    c->have += got;
    c->answer[c->have] = 0;
    ssize_t length = parse(c->answer, c->answer + c->have, &answer);
    if (length == 0)
        return 0;
    if (length != (ssize_t)c->have || !c->sent) {
        lose(c);
        return 0;
    }
    int64_t time = now() - c->sent;
    took[time < SLOWEST ? time : SLOWEST]++;
    slowest = time > slowest ? time : slowest;
    requests++;
    refused += answer.status / 100 != 2;
    c->have = 0;
    if (answer.last) {
        close_connection(c);
        open_connection(c);
    }
    return 1;
}

/* The whole */

/* Begins a request, which may end another. */
static void begin(struct connection *c)
{
    c->sent = 0;
    send_piece(c, head, head_length);
    halves[next_half++ % MOST] = c;
    if (next_half - first_half > most_halves) {
        c = halves[first_half++ % MOST];
        c->sent = now();
        send_piece(c, body, body_length);
    }
}

static int64_t percentile(double share)
{
    uint64_t wanted = (uint64_t)(share * requests), seen = 0;
    for (int64_t time = 0; time <= SLOWEST; time++)
        if ((seen += took[time]) > wanted)
            return time;
    return slowest;
}

static const char *variable(const char *name)
{
    const char *value = getenv(name);
    if (!value)
        die("%s is missing in the environment", name);
    return value;
}

static int number(const char *text, const char *what, int most)
{
    char *end;
    long value = strtol(text, &end, 10);
    if (*end || value < 1 || value > most)
        die("%s must be a number from 1 to %d, got %s", what, most, text);
    return (int)value;
}

int main(int count, char **arguments)
{
    if (count != 5)
        die("usage: twice ADDRESS PORT CONNECTIONS SECONDS");
    server.sin_family = AF_INET;
    if (inet_pton(AF_INET, arguments[1], &server.sin_addr) != 1 || ntohl(server.sin_addr.s_addr) >> 24 != 127)
        die("%s is not in 127.0.0.0/8: load goes to this machine only", arguments[1]);
    server.sin_port = htons(number(arguments[2], "PORT", 65535));
    int connections = number(arguments[3], "CONNECTIONS", MOST), seconds = number(arguments[4], "SECONDS", 600);
    body = variable("LOAD_BODY");
    body_length = strlen(body);
    if (asprintf(&head, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
                 variable("LOAD_PATH"), variable("LOAD_HOST"), body_length) < 0)
        die("out of memory");
    head_length = strlen(head);

    struct connection *all = calloc(connections, sizeof *all);
    struct epoll_event events[MOST];
    if (!all || (poller = epoll_create1(0)) < 0)
        die("it cannot start: %s", strerror(errno));
    most_halves = connections / 2;
    for (int i = 0; i < connections; i++)
        open_connection(&all[i]);
    int64_t start = now(), end = start + seconds * 1000000LL, left;
    for (int i = 0; i < connections; i++)
        begin(&all[i]);
    while ((left = end - now()) > 0 && !broken) {
        int happened = epoll_wait(poller, events, MOST, (int)(left / 1000 + 1));
        for (int i = 0; i < happened && !broken; i++)
            if (receive(events[i].data.ptr))
                begin(events[i].data.ptr);
    }
    double lasted = (now() - start) / 1e6;
    for (int i = 0; i < connections; i++)
        if (all[i].fd >= 0)
            close_connection(&all[i]);
    if (!broken && packets < 2 * requests)
        die("%ju requests left in %ju packets: heads and bodies were not sent apart", requests, packets);
    printf("{\"requests\": %ju, \"seconds\": %.6f, \"p50_us\": %jd, \"p99_us\": %jd, \"max_us\": %jd, \"refused\": %ju, \"broken\": %ju}\n",
           requests, lasted, percentile(0.5), percentile(0.99), slowest, refused, broken);
    return 0;
}
