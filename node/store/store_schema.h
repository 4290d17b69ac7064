/* Which form the database has, and how an older one gets today's; private to the store. */
#ifndef NODE_STORE_SCHEMA_H
#define NODE_STORE_SCHEMA_H

#include "store_meta.h"

/* Before anything is written: SQLITE_OK for a file that this program may open, an empty one among
 * them; STORE_UNKNOWN_FORM for one of a later version or of another program. */
int schema_check(sqlite3 *db, int *schema, struct store_found *found);
/* All tables in this version's form, from whichever the file has: at once or not at all. */
int schema_upgrade(sqlite3 *db, int schema);

#endif
