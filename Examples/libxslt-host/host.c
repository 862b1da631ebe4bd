/* A program with libxslt in it that never stops: it transforms one document over and over, and prints what comes out
 * whenever that changes. SIGUSR1 makes it finish the transformation at hand and wait ("holding"), and again, go on. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <libexslt/exslt.h>
#include <libxml/parser.h>
#include <libxslt/transform.h>
#include <libxslt/xsltInternals.h>
#include <libxslt/xsltutils.h>

static const char stylesheet[] =
    "<xsl:stylesheet version='1.0' xmlns:xsl='http://www.w3.org/1999/XSL/Transform' xmlns:e='http://exslt.org/common'>"
    "<xsl:output method='text'/>"
    "<xsl:template match='/'>"
    "<xsl:variable name='tree'><a/><b/></xsl:variable>"
    "<xsl:value-of select='generate-id(e:node-set($tree))'/>,"
    "<xsl:value-of select='generate-id(e:node-set($tree)/b)'/>,"
    "<xsl:value-of select='generate-id(/list/item)'/>,"
    "<xsl:value-of select='count(/list/item)'/>"
    "</xsl:template></xsl:stylesheet>";
static const char document[] = "<list><item/><item/></list>";

static volatile sig_atomic_t hold;
static char message[256];

static void toggle(int signal)
{
    (void)signal;
    hold = !hold;
}

static void keep_message(void *context, const char *format, ...)
{
    va_list arguments;

    (void)context;
    va_start(arguments, format);
    size_t used = strlen(message);
    vsnprintf(message + used, sizeof message - used, format, arguments);
    va_end(arguments);
}

/* One transformation, from nothing: text, or the error. */
static void transform(xsltStylesheetPtr style, char *result, size_t room)
{
    xmlDocPtr in = xmlReadMemory(document, sizeof document - 1, NULL, NULL, 0);
    xmlDocPtr out = xsltApplyStylesheet(style, in, NULL);
    xmlChar *text = NULL;
    int length = 0;

    if (out && !message[0] && xsltSaveResultToString(&text, &length, out, style) == 0)
        snprintf(result, room, "%s", text ? (char *)text : "");
    else
        snprintf(result, room, "error: %s", message);
    for (char *c = result; *c; c++)
        if (*c == '\n')
            *c = ' ';
    message[0] = '\0';
    xmlFree(text);
    xmlFreeDoc(out);
    xmlFreeDoc(in);
}

int main(void)
{
    char last[512] = "", result[512];
    unsigned long count = 0;

    signal(SIGUSR1, toggle);
    setlinebuf(stdout);
    exsltRegisterAll();
    xsltSetGenericErrorFunc(NULL, keep_message);
    xmlSetGenericErrorFunc(NULL, keep_message);
    xsltStylesheetPtr style = xsltParseStylesheetDoc(xmlReadMemory(stylesheet, sizeof stylesheet - 1, NULL, NULL, 0));
    for (;;) {
        if (hold) {
            printf("holding after %lu transformations\n", count);
            while (hold)
                usleep(10000);
            printf("going on\n");
        }
        transform(style, result, sizeof result);
        count++;
        if (strcmp(result, last) != 0)
            printf("result: %s\n", strcpy(last, result));
    }
}
