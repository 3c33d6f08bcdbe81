/* Reading the value of one option into its field, by kind. Strict: trailing text, blanks and
 * numbers out of range are refused with the form expected. Private to options*.c. */
#ifndef QUIRE_LAUNCH_OPTIONS_VALUE_H
#define QUIRE_LAUNCH_OPTIONS_VALUE_H

#include "launch/options_table.h"

/* Most tokens, ranks and the like that an option may name: products of two of them fit 64 bits. */
#define OPTION_NUMBER_MAX INT32_MAX

typedef enum status option_take(struct options *options, const struct option *row,
                                const char *text);

option_take take_flag;        /* bool */
option_take take_text;        /* const char *, not empty */
option_take take_string;      /* const char *, may be empty */
option_take take_number;      /* int64_t in [row->min, row->max] */
option_take take_auto_number; /* the same, or "auto" for 0 */
option_take take_numbers;     /* struct number_list, each in [row->min, row->max] */
option_take take_seed;        /* uint64_t */
option_take take_temperature, take_top_p;
option_take take_mesh, take_kv, take_compute, take_weights, take_wire, take_overlap;
option_take take_file, take_prompt, take_stop;
option_take take_sites, take_layers, take_range, take_commit_every;
option_take take_shape, take_methods;

#endif
