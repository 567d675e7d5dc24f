// One file at a time; every failure ends the program.
#pragma once

#ifdef __cplusplus
extern "C" {
#endif

// `texts`: a file of the statements, one a line. `full`: synchronous = FULL, otherwise NORMAL.
void bare_open(const char* texts, const char* path, int full);
// Claims the oldest waiting command and acknowledges it.
void bare_pair(void);
void bare_checkpoint(void);
void bare_close(void);

#ifdef __cplusplus
}
#endif
