/* A fast Modbus TCP device (libmodbus) and masters, for bench/modbus_proxy.py.
 *
 *   modbus_peer device US                 prints its port, answers after so many us
 *   modbus_peer master PORT MASTERS S     asks for S seconds; one line of JSON
 *
 * Every master reads 10 holding registers and sends the next request when the reply
 * is there. Built with: cc -O2 modbus_peer.c -lmodbus
 */
#include <arpa/inet.h>
#include <modbus/modbus.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { PEERS = 64, SAMPLES = 4000000, REPLY = 29 };

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static void quick(int s) {
    int one = 1;
    setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

static int device(int us) {
    modbus_t *modbus = modbus_new_tcp("127.0.0.1", 0);
    modbus_mapping_t *map = modbus_mapping_new(2000, 2000, 2000, 2000);
    int listener = modbus_tcp_listen(modbus, PEERS);
    struct sockaddr_in at;
    socklen_t size = sizeof at;
    struct pollfd fds[PEERS + 1] = {{.fd = listener, .events = POLLIN}};
    int count = 1;
    uint8_t query[MODBUS_TCP_MAX_ADU_LENGTH];

    if (listener < 0 || !map || getsockname(listener, (void *)&at, &size)) return 1;
    printf("%d\n", ntohs(at.sin_port));
    fflush(stdout);
    while (poll(fds, count, -1) >= 0) {
        if (fds[0].revents && count <= PEERS) {
            int s = accept(listener, NULL, NULL);
            quick(s);
            fds[count++] = (struct pollfd){.fd = s, .events = POLLIN};
        }
        for (int i = 1; i < count; i++) {
            if (!fds[i].revents) continue;
            modbus_set_socket(modbus, fds[i].fd);
            int got = modbus_receive(modbus, query);
            if (got > 0) {
                if (us) usleep(us);
                modbus_reply(modbus, query, got, map);
            } else if (got < 0) {
                close(fds[i].fd);
                fds[i--] = fds[--count];
            }
        }
    }
    return 0;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static int master(int port, int masters, double seconds) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct pollfd fds[PEERS];
    int got[PEERS] = {0};
    double asked[PEERS], *took = malloc(SAMPLES * sizeof *took);
    unsigned char query[12] = {0, 0, 0, 0, 0, 6, 1, 3, 0, 0, 0, 10}, reply[PEERS][300];
    long done = 0;

    inet_pton(AF_INET, "127.0.0.1", &at.sin_addr);
    for (int i = 0; i < masters; i++) {
        int s = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(s, (void *)&at, sizeof at)) return 1;
        quick(s);
        fds[i] = (struct pollfd){.fd = s, .events = POLLIN};
    }
    double start = now(), until = start + seconds;
    for (int i = 0; i < masters; i++) {
        asked[i] = now();
        if (send(fds[i].fd, query, sizeof query, 0) != sizeof query) return 1;
    }
    while (now() < until && done < SAMPLES - PEERS) {
        if (masters > 1 && poll(fds, masters, 5000) <= 0) return 1;
        for (int i = 0; i < masters; i++) {
            if (masters > 1 && !fds[i].revents) continue;
            int n = recv(fds[i].fd, reply[i] + got[i], sizeof reply[i] - got[i], 0);
            if (n <= 0) return 1;
            got[i] += n;
            if (got[i] > 8 && reply[i][7] != 3) return 2; /* an exception */
            if (got[i] < REPLY) continue;
            double t = now();
            took[done++] = t - asked[i];
            got[i] = 0;
            query[0] = done >> 8, query[1] = done;
            asked[i] = t;
            if (send(fds[i].fd, query, sizeof query, 0) != sizeof query) return 1;
        }
    }
    double elapsed = now() - start;
    qsort(took, done, sizeof *took, by_value);
    printf("{\"median_us\": %.1f, \"p99_us\": %.1f, \"rate\": %.0f}\n",
           took[done / 2] * 1e6, took[done * 99 / 100] * 1e6, done / elapsed);
    return 0;
}

int main(int count, char **words) {
    if (count == 3 && !strcmp(words[1], "device")) return device(atoi(words[2]));
    if (count == 5 && !strcmp(words[1], "master"))
        return master(atoi(words[2]), atoi(words[3]), atof(words[4]));
    return 64;
}
