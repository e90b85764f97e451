/* One letter in memory through GMime 3: 0 full, 1 subject + from + date + id, 2 types and names of the parts.
 * Gives a number that depends on everything that was read, so that nothing is optimised away. */
#include <gmime/gmime.h>
#include <string.h>

static GMimeParserOptions *options;

void gmimebench_init(void) {
    g_mime_init();
    options = g_mime_parser_options_new();
}

static unsigned long length(const char *text) { return text ? strlen(text) : 0; }

static unsigned long addresses(InternetAddressList *list) {
    unsigned long sum = 0;
    int count = list ? internet_address_list_length(list) : 0;
    for (int i = 0; i < count; i++) {
        InternetAddress *one = internet_address_list_get_address(list, i);
        sum += length(internet_address_get_name(one));
        if (INTERNET_ADDRESS_IS_MAILBOX(one))
            sum += length(internet_address_mailbox_get_addr((InternetAddressMailbox *)one));
    }
    return sum;
}

static unsigned long content(GMimeObject *part) {
    unsigned long sum;
    if (GMIME_IS_TEXT_PART(part)) {
        char *text = g_mime_text_part_get_text((GMimeTextPart *)part);
        sum = length(text);
        g_free(text);
        return sum;
    }
    GMimeDataWrapper *wrapper = g_mime_part_get_content((GMimePart *)part);
    GByteArray *bytes = g_byte_array_new();
    GMimeStream *stream = g_mime_stream_mem_new_with_byte_array(bytes);
    g_mime_stream_mem_set_owner((GMimeStreamMem *)stream, FALSE);
    if (wrapper) g_mime_data_wrapper_write_to_stream(wrapper, stream);
    sum = bytes->len;
    g_object_unref(stream);
    g_byte_array_free(bytes, TRUE);
    return sum;
}

unsigned long gmimebench_run(const char *letter, unsigned long size, int task) {
    unsigned long sum = 0;
    GMimeStream *stream = g_mime_stream_mem_new_with_buffer(letter, size);
    GMimeParser *parser = g_mime_parser_new_with_stream(stream);
    g_object_unref(stream);
    g_mime_parser_set_format(parser, GMIME_FORMAT_MESSAGE);
    GMimeMessage *message = g_mime_parser_construct_message(parser, options);
    if (!message) {
        g_object_unref(parser);
        return 0;
    }
    if (task != 2) {
        GDateTime *date = g_mime_message_get_date(message);
        sum += length(g_mime_message_get_subject(message)) + length(g_mime_message_get_message_id(message));
        sum += addresses(g_mime_message_get_from(message)) + (date ? g_date_time_to_unix(date) & 1 : 0);
    }
    if (task != 1) {
        GMimePartIter *parts = g_mime_part_iter_new((GMimeObject *)message);
        do {
            GMimeObject *part = g_mime_part_iter_get_current(parts);
            if (!part) continue;
            sum += length(g_mime_content_type_get_media_type(g_mime_object_get_content_type(part)));
            if (!GMIME_IS_PART(part)) continue;
            sum += length(g_mime_part_get_filename((GMimePart *)part));
            if (task == 0) sum += content(part);
        } while (g_mime_part_iter_next(parts));
        g_mime_part_iter_free(parts);
    }
    g_object_unref(message);
    g_object_unref(parser);
    return sum;
}
