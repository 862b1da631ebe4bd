/* A program that never stops writing and reading archives in memory: zip and tar, one after the other. */
#include <archive.h>
#include <archive_entry.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char buffer[1 << 16];

static size_t write_archive(int zip, int files)
{
    struct archive *archive = archive_write_new();
    size_t used = 0;
    if (zip)
        archive_write_set_format_zip(archive);
    else
        archive_write_set_format_pax_restricted(archive);
    archive_write_open_memory(archive, buffer, sizeof buffer, &used);
    for (int i = 0; i < files; i++) {
        struct archive_entry *entry = archive_entry_new();
        char name[32], text[64];
        snprintf(name, sizeof name, "file-%d", i);
        int length = snprintf(text, sizeof text, "this is file %d", i);
        archive_entry_set_pathname(entry, name);
        archive_entry_set_size(entry, length);
        archive_entry_set_filetype(entry, AE_IFREG);
        archive_entry_set_mtime(entry, 1000000000, 0);
        if (archive_write_header(archive, entry) == ARCHIVE_OK)
            archive_write_data(archive, text, length);
        archive_entry_free(entry);
    }
    archive_write_free(archive);
    return used;
}

static int read_archive(size_t size)
{
    struct archive *archive = archive_read_new();
    struct archive_entry *entry;
    int good = 0;
    archive_read_support_format_all(archive);
    if (archive_read_open_memory(archive, buffer, size) != ARCHIVE_OK)
        return -1;
    while (archive_read_next_header(archive, &entry) == ARCHIVE_OK) {
        char expected[64], text[64] = "";
        snprintf(expected, sizeof expected, "this is file %d", good);
        archive_read_data(archive, text, sizeof text - 1);
        if (strcmp(text, expected) == 0)
            good++;
    }
    archive_read_free(archive);
    return good;
}

int main(void)
{
    unsigned long rounds = 0, wrong = 0;
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (;; rounds++) {
        wrong += read_archive(write_archive(rounds & 1, 40)) != 40;
        if (rounds % 100 == 0)
            printf("rounds %lu wrong %lu\n", rounds, wrong);
        usleep(500);
    }
}
