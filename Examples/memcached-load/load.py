#!/usr/bin/env python3
"""Load for memcached's binary protocol with SASL: load.py SOCKET CLIENTS, until SIGTERM.

Every client logs in anew each round, with the right password and with a wrong one, and stores and fetches values. Prints
`round` now and then, and at the end the requests and how many did not get the right answer.
"""
import os
import signal
import socket
import struct
import sys
import threading

SET, GET, AUTH = 0x01, 0x00, 0x21
stop = threading.Event()
lock = threading.Lock()
requests = errors = 0


def ask(connection, opcode, key, extras=b"", value=b""):
    """Sends one request; returns status and value."""
    body = extras + key + value
    header = struct.pack(">BBHBBHIIQ", 0x80, opcode, len(key), len(extras), 0, 0, len(body), 0, 0)
    connection.sendall(header + body)
    answer = read(connection, 24)
    _, _, keys, more, _, status, length, _, _ = struct.unpack(">BBHBBHIIQ", answer)
    return status, read(connection, length)[more + keys:]


def read(connection, count):
    data = b""
    while len(data) < count:
        part = connection.recv(count - len(data))
        if not part:
            raise EOFError("closed")
        data += part
    return data


def one_round(path, number, turn):
    """Returns the number of requests, and how many went wrong."""
    wrong = 0
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(path)
        wrong += ask(connection, AUTH, b"PLAIN", value=b"\0bob\0secret")[0] == 0
        wrong += ask(connection, AUTH, b"PLAIN", value=b"\0alice\0secret")[0] != 0
        for index in range(100):
            key, value = b"key-%d-%d" % (number, index), b"%d " % (turn * index) * 20
            wrong += ask(connection, SET, key, struct.pack(">II", 0, 0), value)[0] != 0
            wrong += ask(connection, GET, key) != (0, value)
    return 202, wrong


def client(path, number):
    global requests, errors
    turn = 0
    while not stop.is_set():
        turn += 1
        try:
            done, wrong = one_round(path, number, turn)
        except (OSError, EOFError) as error:
            done, wrong = 1, 1
            print("error", error, flush=True)
        with lock:
            requests += done
            errors += wrong
        if number == 0:
            print("round", turn, flush=True)


def main():
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    clients = [threading.Thread(target=client, args=(sys.argv[1], number)) for number in range(int(sys.argv[2]))]
    for thread in clients:
        thread.start()
    stop.wait()
    for thread in clients:
        thread.join()
    print(f"requests {requests} errors {errors}", flush=True)


main()
