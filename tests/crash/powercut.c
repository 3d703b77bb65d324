/*
 * powercut: shows a program a disk that loses power, or fails. Test-only.
 *
 * Build:  cc -O1 -shared -fPIC -o powercut.so powercut.c -lpthread
 * Use:    LD_PRELOAD=/path/to/powercut.so POWERCUT_DIR=/path/to/data ... program
 *
 * Environment
 *   POWERCUT_DIR      Absolute path of the folder that is watched. Required; without it the
 *                     library does nothing. "<POWERCUT_DIR>.graveyard" is made beside it and
 *                     holds removed files until their removal is synced; delete it with the data.
 *   POWERCUT_TRIGGER  Path of the trigger file, outside POWERCUT_DIR. Looked at every millisecond.
 *   POWERCUT_SEED     Number that decides what a cut keeps (default 1). Same writes and same seed,
 *                     same result.
 *   POWERCUT_AT       Cut by itself just before the n-th watched operation (a write, truncation,
 *                     sync, creation, renaming or removal below POWERCUT_DIR).
 *
 * The trigger file's content says what happens; write it beside and rename it into place. Errors
 * go on until the file is removed (or says something else); a cut ends the process.
 *   cut          Power cut: everything below POWERCUT_DIR goes back to what was synced, a random
 *                part of the unsynced is applied, and the process kills itself with SIGKILL.
 *   sync-error   fsync and fdatasync answer EIO. As on Linux, what was to be synced stays readable
 *                but no later sync writes it: a following cut loses it for certain.
 *   write-error  Writes answer EIO.
 *   full         Writes answer ENOSPC, the first one after writing half of what it was given.
 *
 * What a cut does
 *   Content: a file goes back to its state at its last successful fsync or fdatasync. Then, for
 *   each sector of 512 bytes that was written since, either nothing, everything, or the first few
 *   of the writes to it are applied. A grown size may be kept or lost; holes read as zeros.
 *   Names: a creation, renaming, removal or new folder is durable once the folder that holds the
 *   name was synced. Of each folder's unsynced changes a random number, from the oldest on, is
 *   kept.
 * A summary goes to standard error.
 *
 * Not seen: raw system calls that bypass libc (the tempfile crate renames through rustix; such a
 * renaming counts as durable at once), and writes through shared mappings, which abort the
 * program with a message rather than go unwatched.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define SECTOR 512
#define PATH_BYTES 4096

/* A write or truncation that is not synced. */
struct change {
    struct change *next, *before;
    int truncation;
    int doomed;             /* a sync of it failed: never written any more ... */
    char *rewritten;        /* ... except these of its bytes, which a later write covered */
    off_t at;               /* where a write begins */
    size_t len;             /* of a write */
    char *new_bytes;        /* of a write */
    char *old_bytes;        /* what it replaced */
    size_t old_len;
    off_t size_before, size_after;
};

/* A file with changes that are not synced. */
struct file {
    struct file *next;
    dev_t dev;
    ino_t ino;
    int fd;                 /* our own, so that the file stays reachable */
    struct change *first, *last;
};

enum name_kind { CREATED, REMOVED, RENAMED, MADE_FOLDER, REMOVED_FOLDER };

/* A change of names that is not synced. */
struct name_change {
    struct name_change *next, *before;
    enum name_kind kind;
    dev_t dev;              /* the folder that has to be synced */
    ino_t ino;
    char *path;             /* the name after the change */
    char *old_path;         /* of a renaming */
    char *grave;            /* where what was removed or replaced is, if anything */
};

enum mode { SOUND, CUT, SYNC_ERROR, WRITE_ERROR, FULL };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int on;
static char folder[PATH_BYTES], graveyard[PATH_BYTES];
static const char *trigger;
static uint64_t seed = 1;
static long cut_at, operations;
static enum mode mode;
static int half_written;    /* the half write of mode FULL has happened */
static unsigned long graves;
static struct file *files;
static struct name_change *names_first, *names_last;

/* ---- the system, past ourselves ---- */

static ssize_t sys_pread(int fd, void *buf, size_t n, off_t at) { return syscall(SYS_pread64, fd, buf, n, at); }
static ssize_t sys_pwrite(int fd, const void *buf, size_t n, off_t at) { return syscall(SYS_pwrite64, fd, buf, n, at); }
static int sys_ftruncate(int fd, off_t n) { return syscall(SYS_ftruncate, fd, n); }
static int sys_rename(const char *a, const char *b) { return syscall(SYS_renameat2, AT_FDCWD, a, AT_FDCWD, b, 0); }
static int sys_unlink(const char *path) { return syscall(SYS_unlinkat, AT_FDCWD, path, 0); }
static int sys_rmdir(const char *path) { return syscall(SYS_unlinkat, AT_FDCWD, path, AT_REMOVEDIR); }
static int sys_mkdir(const char *path, mode_t m) { return syscall(SYS_mkdirat, AT_FDCWD, path, m); }

static void die(const char *why) {
    dprintf(2, "powercut: %s: %s\n", why, strerror(errno));
    abort();
}

static void *need(void *memory) {
    if (!memory) die("out of memory");
    return memory;
}

/* ---- dice: a hash of the seed and what is asked about (splitmix64) ---- */

static uint64_t dice(uint64_t a, uint64_t b) {
    uint64_t x = seed * 0x9e3779b97f4a7c15u + a * 0xd1342543de82ef95u + b + 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

/* How many of `of` things in a row survive: none, all, or some. */
static uint64_t survivors(uint64_t a, uint64_t b, uint64_t of) {
    uint64_t x = dice(a, b);
    switch (x & 3) {
    case 0: return 0;
    case 1: return of;
    default: return (x >> 2) % (of + 1);
    }
}

/* ---- which files are watched ---- */

static int below_folder(const char *path) {
    size_t n = strlen(folder);
    return strncmp(path, folder, n) == 0 && (path[n] == '/' || path[n] == 0);
}

/* The absolute path of `path` seen from `dirfd`; 0 when it cannot be said. */
static int absolute(int dirfd, const char *path, char *into) {
    char base[PATH_BYTES];
    if (path[0] == '/') return snprintf(into, PATH_BYTES, "%s", path) < PATH_BYTES;
    if (dirfd == AT_FDCWD) {
        if (!getcwd(base, sizeof base)) return 0;
    } else {
        char link[64];
        snprintf(link, sizeof link, "/proc/self/fd/%d", dirfd);
        ssize_t n = readlink(link, base, sizeof base - 1);
        if (n < 0) return 0;
        base[n] = 0;
    }
    return snprintf(into, PATH_BYTES, "%s/%s", base, path) < PATH_BYTES;
}

/* The entry of the file behind `fd`, made if `make`; NULL when it is not watched. */
static struct file *file_of(int fd, int make) {
    struct stat st;
    if (fstat(fd, &st) || !S_ISREG(st.st_mode)) return NULL;
    for (struct file *f = files; f; f = f->next)
        if (f->dev == st.st_dev && f->ino == st.st_ino) return f;
    char link[64], path[PATH_BYTES];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n < 0) return NULL;
    path[n] = 0;
    if (!below_folder(path) && strncmp(path, graveyard, strlen(graveyard)) != 0) return NULL;
    if (!make) return NULL;
    struct file *f = need(calloc(1, sizeof *f));
    f->dev = st.st_dev;
    f->ino = st.st_ino;
    f->fd = syscall(SYS_openat, AT_FDCWD, link, O_RDWR | O_CLOEXEC, 0);
    if (f->fd < 0) die("cannot open a watched file");
    f->next = files;
    files = f;
    return f;
}

static int is_watched(int fd) {
    struct stat st;
    if (!on || fstat(fd, &st) || !S_ISREG(st.st_mode)) return 0;
    char link[64], path[PATH_BYTES];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n < 0) return 0;
    path[n] = 0;
    return below_folder(path);
}

static void forget_file(struct file *gone) {
    for (struct file **f = &files; *f; f = &(*f)->next)
        if (*f == gone) {
            *f = gone->next;
            syscall(SYS_close, gone->fd);
            free(gone);
            return;
        }
}

/* ---- the cut ---- */

static void write_all(int fd, const char *bytes, size_t len, off_t at) {
    while (len) {
        ssize_t n = sys_pwrite(fd, bytes, len, at);
        if (n <= 0) die("cannot write while cutting");
        bytes += n; len -= n; at += n;
    }
}

/* Takes a write back whose sync failed, but for what a later synced write covered: run by run, since
 * a journal that was written over itself is megabytes of them. */
static void undo_doomed(struct file *f, struct change *c) {
    static const char zeros[64 * 1024];
    int kept = 0;
    for (size_t i = 0; i < c->len;) {
        if (c->rewritten[i]) { kept = 1; i++; continue; }
        int old = i < c->old_len;
        size_t stop = i, bound = old ? c->old_len : c->len;
        if (!old && bound - i > sizeof zeros) bound = i + sizeof zeros;
        while (stop < bound && !c->rewritten[stop]) stop++;
        write_all(f->fd, old ? c->old_bytes + i : zeros, stop - i, c->at + i);
        i = stop;
    }
    if (!kept && sys_ftruncate(f->fd, c->size_before)) die("cannot truncate while cutting");
}

static void tear_file(struct file *f, unsigned long *applied, unsigned long *lost) {
    uint64_t count = 0, index = 0;
    /* Known only because of a write that was refused: it is as it was synced. */
    if (!f->first) return;
    off_t synced_size = f->first->size_before;
    for (struct change *c = f->last; c; c = c->before) {
        count++;
        if (c->doomed && !c->truncation) { undo_doomed(f, c); continue; }
        if (c->old_len) write_all(f->fd, c->old_bytes, c->old_len, c->truncation ? c->size_after : c->at);
        if (sys_ftruncate(f->fd, c->size_before)) die("cannot truncate while cutting");
    }
    uint64_t truncations = survivors(f->ino, ~0ull, count);
    for (struct change *c = f->first; c; c = c->next, index++) {
        if (c->doomed) { (*lost)++; continue; }
        if (c->truncation) {
            if (index < truncations && sys_ftruncate(f->fd, c->size_after)) die("cannot truncate while cutting");
            continue;
        }
        off_t end = c->at + (off_t)c->len;
        for (off_t at = c->at; at < end;) {
            off_t sector = at / SECTOR, stop = (sector + 1) * SECTOR;
            if (stop > end) stop = end;
            if (index < survivors(f->ino, sector, count)) {
                write_all(f->fd, c->new_bytes + (at - c->at), stop - at, at);
                (*applied)++;
            } else {
                (*lost)++;
            }
            at = stop;
        }
    }
    struct stat st;
    if (!fstat(f->fd, &st) && st.st_size > synced_size && (dice(f->ino, ~1ull) & 3) == 0
        && sys_ftruncate(f->fd, synced_size)) die("cannot truncate while cutting");
}

static void remove_tree(const char *path) {
    DIR *d = opendir(path);
    if (d) {
        struct dirent *e;
        char child[PATH_BYTES * 2];
        while ((e = readdir(d))) {
            if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..")) continue;
            snprintf(child, sizeof child, "%s/%s", path, e->d_name);
            if (sys_unlink(child)) remove_tree(child);
        }
        closedir(d);
    }
    sys_rmdir(path);
}

static void undo_name(struct name_change *n) {
    switch (n->kind) {
    case CREATED: sys_unlink(n->path); break;
    case REMOVED: sys_rename(n->grave, n->path); break;
    case RENAMED:
        sys_rename(n->path, n->old_path);
        if (n->grave) sys_rename(n->grave, n->path);
        break;
    case MADE_FOLDER: remove_tree(n->path); break;
    case REMOVED_FOLDER: sys_mkdir(n->path, 0755); break;
    }
}

static unsigned long lose_names(void) {
    unsigned long lost = 0;
    for (struct name_change *n = names_last; n; n = n->before) {
        uint64_t of = 0, index = 0;
        for (struct name_change *m = names_first; m; m = m->next) {
            if (m->dev != n->dev || m->ino != n->ino) continue;
            if (m == n) index = of;
            of++;
        }
        if (index >= survivors(n->ino, ~2ull, of)) { undo_name(n); lost++; }
    }
    return lost;
}

/* Never returns. The lock is held and stays so: nobody writes any more. */
static void cut(void) {
    unsigned long count = 0, applied = 0, lost = 0, lost_names;
    for (struct file *f = files; f; f = f->next, count++) tear_file(f, &applied, &lost);
    lost_names = lose_names();
    dprintf(2, "powercut: seed %llu, after %ld operations: %lu unsynced files, %lu sectors kept, %lu lost, %lu names lost\n",
            (unsigned long long)seed, operations, count, applied, lost, lost_names);
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

/* Every watched operation begins here, with the lock held. */
static void operation(void) {
    operations++;
    if (mode == CUT || (cut_at && operations >= cut_at)) cut();
}

/* ---- the trigger ---- */

static enum mode triggered(void) {
    char word[32] = "";
    int fd = syscall(SYS_openat, AT_FDCWD, trigger, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0) return SOUND;
    ssize_t n = syscall(SYS_read, fd, word, sizeof word - 1);
    syscall(SYS_close, fd);
    if (n > 0) word[strcspn(word, " \n")] = 0;
    if (!strcmp(word, "cut")) return CUT;
    if (!strcmp(word, "sync-error")) return SYNC_ERROR;
    if (!strcmp(word, "write-error")) return WRITE_ERROR;
    if (!strcmp(word, "full")) return FULL;
    return SOUND;
}

static void *watch(void *unused) {
    (void)unused;
    for (;;) {
        enum mode now = triggered();
        pthread_mutex_lock(&lock);
        if (now != mode) half_written = 0;
        mode = now;
        if (mode == CUT) cut();
        pthread_mutex_unlock(&lock);
        usleep(1000);
    }
    return NULL;
}

__attribute__((constructor)) static void begin(void) {
    const char *dir = getenv("POWERCUT_DIR"), *text;
    if (!dir || !*dir) return;
    snprintf(folder, sizeof folder, "%s", dir);
    for (size_t n = strlen(folder); n > 1 && folder[n - 1] == '/'; n--) folder[n - 1] = 0;
    snprintf(graveyard, sizeof graveyard, "%.*s.graveyard", PATH_BYTES - 16, folder);
    sys_mkdir(graveyard, 0755);
    /* Processes that follow each other on one folder must not share graves. */
    graves = (unsigned long)getpid() << 24;
    if ((text = getenv("POWERCUT_SEED"))) seed = strtoull(text, NULL, 0);
    if ((text = getenv("POWERCUT_AT"))) cut_at = strtol(text, NULL, 0);
    trigger = getenv("POWERCUT_TRIGGER");
    on = 1;
    if (trigger) {
        pthread_t thread;
        sigset_t all, before;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        if (pthread_create(&thread, NULL, watch, NULL)) die("cannot start a thread");
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        pthread_detach(thread);
    }
}

/* ---- content ---- */

static void keep_change(struct file *f, struct change *c) {
    c->before = f->last;
    if (f->last) f->last->next = c; else f->first = c;
    f->last = c;
}

/* Reads what a change is about to destroy. */
static void keep_old(struct file *f, struct change *c, off_t at, size_t len) {
    if (!len) return;
    c->old_bytes = need(malloc(len));
    while (c->old_len < len) {
        ssize_t n = sys_pread(f->fd, c->old_bytes + c->old_len, len - c->old_len, at + c->old_len);
        if (n <= 0) break;
        c->old_len += n;
    }
}

static off_t size_of(int fd) {
    struct stat st;
    return fstat(fd, &st) ? 0 : st.st_size;
}

/* A write of `fd` at its own position (at < 0) or at `at`. */
static ssize_t watched_write(int fd, const void *buf, size_t len, off_t at) {
    pthread_mutex_lock(&lock);
    operation();
    struct file *f = file_of(fd, 1);
    if (!f) {
        pthread_mutex_unlock(&lock);
        return at < 0 ? syscall(SYS_write, fd, buf, len) : sys_pwrite(fd, buf, len, at);
    }
    if (mode == WRITE_ERROR || (mode == FULL && (half_written || len < 2))) {
        int error = mode == FULL ? ENOSPC : EIO;
        pthread_mutex_unlock(&lock);
        errno = error;
        return -1;
    }
    if (mode == FULL) { half_written = 1; len /= 2; }
    struct change *c = need(calloc(1, sizeof *c));
    c->size_before = size_of(fd);
    c->at = at >= 0 ? at
        : (fcntl(fd, F_GETFL) & O_APPEND) ? c->size_before : lseek(fd, 0, SEEK_CUR);
    keep_old(f, c, c->at, len);
    ssize_t n = at < 0 ? syscall(SYS_write, fd, buf, len) : sys_pwrite(fd, buf, len, at);
    int error = errno;
    if (n > 0) {
        c->len = n;
        if (c->old_len > (size_t)n) c->old_len = n;
        c->new_bytes = need(malloc(n));
        memcpy(c->new_bytes, buf, n);
        c->size_after = size_of(fd);
        keep_change(f, c);
    } else {
        free(c->old_bytes);
        free(c);
    }
    pthread_mutex_unlock(&lock);
    errno = error;
    return n;
}

static int watched_truncate(int fd, off_t size) {
    pthread_mutex_lock(&lock);
    operation();
    struct file *f = file_of(fd, 1);
    off_t before = size_of(fd);
    if (f && (mode == WRITE_ERROR || (mode == FULL && size > before))) {
        int error = mode == FULL ? ENOSPC : EIO;
        pthread_mutex_unlock(&lock);
        errno = error;
        return -1;
    }
    if (f) {
        struct change *c = need(calloc(1, sizeof *c));
        c->truncation = 1;
        c->size_before = before;
        c->size_after = size;
        if (size < before) keep_old(f, c, size, before - size);
        keep_change(f, c);
    }
    int result = sys_ftruncate(fd, size);
    pthread_mutex_unlock(&lock);
    return result;
}

static void free_change(struct change *c) {
    free(c->rewritten);
    free(c->new_bytes);
    free(c->old_bytes);
    free(c);
}

/* Notes what of a doomed write the synced writes after it cover. Says whether that is all. */
static int is_rewritten(struct change *c) {
    for (struct change *w = c->next; w; w = w->next) {
        if (w->doomed || w->truncation) continue;
        off_t from = w->at > c->at ? w->at : c->at;
        off_t c_end = c->at + (off_t)c->len, w_end = w->at + (off_t)w->len;
        off_t to = w_end < c_end ? w_end : c_end;
        if (from < to) memset(c->rewritten + (from - c->at), 1, to - from);
    }
    return memchr(c->rewritten, 0, c->len) == NULL;
}

/* The file's changes are on the disk, but for those whose sync failed before. */
static void file_synced(struct file *f) {
    off_t size = size_of(f->fd);
    struct change *c = f->first;
    f->first = f->last = NULL;
    while (c) {
        struct change *next = c->next;
        /* What was cut off or written again need not be taken back. */
        int gone = !c->doomed || c->truncation || c->at >= size || is_rewritten(c);
        c->next = c->before = NULL;
        if (gone) free_change(c); else keep_change(f, c);
        c = next;
    }
    if (!f->first) forget_file(f);
}

static void folder_synced(dev_t dev, ino_t ino) {
    for (struct name_change *n = names_first; n;) {
        struct name_change *next = n->next;
        if (n->dev == dev && n->ino == ino) {
            if (n->before) n->before->next = n->next; else names_first = n->next;
            if (n->next) n->next->before = n->before; else names_last = n->before;
            if (n->grave) sys_unlink(n->grave);
            free(n->path);
            free(n->old_path);
            free(n->grave);
            free(n);
        }
        n = next;
    }
}

static int watched_sync(int fd, long call) {
    struct stat st;
    if (!on || fstat(fd, &st) || !(S_ISREG(st.st_mode) || S_ISDIR(st.st_mode))) return syscall(call, fd);
    pthread_mutex_lock(&lock);
    struct file *f = S_ISREG(st.st_mode) ? file_of(fd, 0) : NULL;
    int watched = f || S_ISDIR(st.st_mode);
    if (watched) operation();
    if (watched && mode == SYNC_ERROR) {
        for (struct change *c = f ? f->first : NULL; c; c = c->next) {
            if (!c->doomed && !c->truncation) c->rewritten = need(calloc(1, c->len));
            c->doomed = 1;
        }
        pthread_mutex_unlock(&lock);
        errno = EIO;
        return -1;
    }
    int result = syscall(call, fd);
    if (!result && f) file_synced(f);
    if (!result && S_ISDIR(st.st_mode)) folder_synced(st.st_dev, st.st_ino);
    pthread_mutex_unlock(&lock);
    return result;
}

/* ---- names ---- */

static char *grave_for(void) {
    char path[PATH_BYTES + 32];
    snprintf(path, sizeof path, "%s/%lx", graveyard, ++graves);
    return need(strdup(path));
}

static void keep_name(enum name_kind kind, const char *path, const char *old_path, char *grave) {
    char parent[PATH_BYTES];
    struct stat st;
    snprintf(parent, sizeof parent, "%s", path);
    char *slash = strrchr(parent, '/');
    if (slash) *slash = 0;
    if (stat(parent, &st)) die("cannot look at a folder");
    struct name_change *n = need(calloc(1, sizeof *n));
    n->kind = kind;
    n->dev = st.st_dev;
    n->ino = st.st_ino;
    n->path = need(strdup(path));
    n->old_path = old_path ? need(strdup(old_path)) : NULL;
    n->grave = grave;
    n->before = names_last;
    if (names_last) names_last->next = n; else names_first = n;
    names_last = n;
}

static int watched_open(int dirfd, const char *given, int flags, mode_t m) {
    char path[PATH_BYTES];
    int writes = flags & (O_CREAT | O_TRUNC);
    if (!on || !writes || (flags & O_TMPFILE) == O_TMPFILE || !absolute(dirfd, given, path) || !below_folder(path))
        return syscall(SYS_openat, dirfd, given, flags, m);
    pthread_mutex_lock(&lock);
    operation();
    struct stat st;
    int existed = stat(path, &st) == 0;
    if (mode == FULL && !existed && (flags & O_CREAT)) {
        pthread_mutex_unlock(&lock);
        errno = ENOSPC;
        return -1;
    }
    int truncates = existed && (flags & O_TRUNC);
    int fd = syscall(SYS_openat, dirfd, given, flags & ~(truncates ? O_TRUNC : 0), m);
    int error = errno;
    if (fd >= 0 && !existed) keep_name(CREATED, path, NULL, NULL);
    pthread_mutex_unlock(&lock);
    if (fd >= 0 && truncates && watched_truncate(fd, 0)) { error = errno; syscall(SYS_close, fd); fd = -1; }
    errno = error;
    return fd;
}

static int watched_rename(int from_fd, const char *given_from, int to_fd, const char *given_to, unsigned flags) {
    char from[PATH_BYTES], to[PATH_BYTES];
    if (!on || flags || !absolute(from_fd, given_from, from) || !absolute(to_fd, given_to, to) || !below_folder(to))
        return syscall(SYS_renameat2, from_fd, given_from, to_fd, given_to, flags);
    pthread_mutex_lock(&lock);
    operation();
    char *grave = NULL;
    if (!access(to, F_OK)) {
        grave = grave_for();
        /* A folder cannot be linked; replacing one is not something a store does. */
        if (syscall(SYS_linkat, AT_FDCWD, to, AT_FDCWD, grave, 0)) { free(grave); grave = NULL; }
    }
    int result = sys_rename(from, to);
    int error = errno;
    if (!result) keep_name(RENAMED, to, from, grave);
    else if (grave) { sys_unlink(grave); free(grave); }
    pthread_mutex_unlock(&lock);
    errno = error;
    return result;
}

static int watched_unlink(int dirfd, const char *given, int flags) {
    char path[PATH_BYTES];
    if (!on || !absolute(dirfd, given, path) || !below_folder(path))
        return syscall(SYS_unlinkat, dirfd, given, flags);
    pthread_mutex_lock(&lock);
    operation();
    int result, error;
    if (flags & AT_REMOVEDIR) {
        result = sys_rmdir(path);
        error = errno;
        if (!result) keep_name(REMOVED_FOLDER, path, NULL, NULL);
    } else {
        struct stat st;
        char *grave = grave_for();
        if (!lstat(path, &st) && S_ISDIR(st.st_mode)) {
            result = -1;
            error = EISDIR;
            free(grave);
        } else {
            result = sys_rename(path, grave);
            error = errno;
            if (!result) keep_name(REMOVED, path, NULL, grave); else free(grave);
        }
    }
    pthread_mutex_unlock(&lock);
    errno = error;
    return result;
}

static int watched_mkdir(int dirfd, const char *given, mode_t m) {
    char path[PATH_BYTES];
    if (!on || !absolute(dirfd, given, path) || !below_folder(path))
        return syscall(SYS_mkdirat, dirfd, given, m);
    pthread_mutex_lock(&lock);
    operation();
    int result = sys_mkdir(path, m);
    int error = errno;
    /* The watched folder itself is given: only what is below it can be lost. */
    if (!result && strcmp(path, folder)) keep_name(MADE_FOLDER, path, NULL, NULL);
    pthread_mutex_unlock(&lock);
    errno = error;
    return result;
}

/* ---- what the program calls ---- */

ssize_t write(int fd, const void *buf, size_t n) { return is_watched(fd) ? watched_write(fd, buf, n, -1) : syscall(SYS_write, fd, buf, n); }
ssize_t pwrite(int fd, const void *buf, size_t n, off_t at) { return is_watched(fd) ? watched_write(fd, buf, n, at) : sys_pwrite(fd, buf, n, at); }
ssize_t pwrite64(int fd, const void *buf, size_t n, off64_t at) { return pwrite(fd, buf, n, at); }

ssize_t writev(int fd, const struct iovec *iov, int count) {
    if (!is_watched(fd)) return syscall(SYS_writev, fd, iov, count);
    /* The first part; the caller comes again with the rest, as after any short write. */
    for (int i = 0; i < count; i++)
        if (iov[i].iov_len) return watched_write(fd, iov[i].iov_base, iov[i].iov_len, -1);
    return 0;
}

int fsync(int fd) { return watched_sync(fd, SYS_fsync); }
int fdatasync(int fd) { return watched_sync(fd, SYS_fdatasync); }
int ftruncate(int fd, off_t n) { return is_watched(fd) ? watched_truncate(fd, n) : sys_ftruncate(fd, n); }
int ftruncate64(int fd, off64_t n) { return ftruncate(fd, n); }

/* Callers fall back to reading and writing. */
ssize_t copy_file_range(int in, off64_t *in_at, int out, off64_t *out_at, size_t n, unsigned flags) {
    if (is_watched(out)) { errno = ENOSYS; return -1; }
    return syscall(SYS_copy_file_range, in, in_at, out, out_at, n, flags);
}
ssize_t sendfile(int out, int in, off_t *at, size_t n) {
    if (is_watched(out)) { errno = EINVAL; return -1; }
    return syscall(SYS_sendfile, out, in, at, n);
}
ssize_t sendfile64(int out, int in, off64_t *at, size_t n) { return sendfile(out, in, (off_t *)at, n); }
int fallocate(int fd, int how, off_t at, off_t n) {
    if (is_watched(fd)) { errno = EOPNOTSUPP; return -1; }
    return syscall(SYS_fallocate, fd, how, at, n);
}
int fallocate64(int fd, int how, off64_t at, off64_t n) { return fallocate(fd, how, at, n); }

static mode_t mode_of(int flags, va_list args) {
    return (flags & (O_CREAT | __O_TMPFILE)) ? va_arg(args, mode_t) : 0;
}
#define OPEN(dirfd) \
    va_list args; va_start(args, flags); mode_t m = mode_of(flags, args); va_end(args); \
    return watched_open(dirfd, path, flags, m);
int open(const char *path, int flags, ...) { OPEN(AT_FDCWD) }
int open64(const char *path, int flags, ...) { OPEN(AT_FDCWD) }
int openat(int dirfd, const char *path, int flags, ...) { OPEN(dirfd) }
int openat64(int dirfd, const char *path, int flags, ...) { OPEN(dirfd) }
int creat(const char *path, mode_t m) { return watched_open(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, m); }

int rename(const char *from, const char *to) { return watched_rename(AT_FDCWD, from, AT_FDCWD, to, 0); }
int renameat(int a, const char *from, int b, const char *to) { return watched_rename(a, from, b, to, 0); }
int renameat2(int a, const char *from, int b, const char *to, unsigned flags) { return watched_rename(a, from, b, to, flags); }
int unlink(const char *path) { return watched_unlink(AT_FDCWD, path, 0); }
int unlinkat(int dirfd, const char *path, int flags) { return watched_unlink(dirfd, path, flags); }
int rmdir(const char *path) { return watched_unlink(AT_FDCWD, path, AT_REMOVEDIR); }
int mkdir(const char *path, mode_t m) { return watched_mkdir(AT_FDCWD, path, m); }
int mkdirat(int dirfd, const char *path, mode_t m) { return watched_mkdir(dirfd, path, m); }

void *mmap(void *addr, size_t len, int prot, int flags, int fd, off_t at) {
    if (fd >= 0 && (flags & MAP_SHARED) && (prot & PROT_WRITE) && is_watched(fd)) {
        errno = ENOTSUP;
        die("a watched file is written through a mapping");
    }
    return (void *)syscall(SYS_mmap, addr, len, prot, flags, fd, at);
}
