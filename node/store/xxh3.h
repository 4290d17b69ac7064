/* SPDX-License-Identifier: MIT */
/*
 * XXH3-64 of the distribution (libxxhash-dev), compiled in: nothing to link, and its state needs no
 * memory of its own. Its results are fixed for ever since xxHash 0.8.0.
 */
#ifndef NODE_XXH3_H
#define NODE_XXH3_H

/* It takes this word from <assert.h>, which the core's file of that name hides here. */
#ifndef static_assert
#define static_assert _Static_assert
#endif
#define XXH_INLINE_ALL
#include <xxhash.h>

#endif
