/* Sweeps of gates over rows of amplitudes, as the Python module qmesh_node.native.

   A sweep takes the amplitudes of each value of the outer wires into two buffers of reals that stay in the cache, applies a
   run of gates there, and puts them back: one pass over memory for a run. Everything is elementwise in a fixed order, in one
   thread, so that the same run makes the same bytes on one CPU family.

   References: Haener, Steiger, SC 2017 (blocked simulation); De Raedt et al., Comput. Phys. Commun. 237 (2019) 47. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && defined(__linux__)
#define CLONED __attribute__((target_clones("arch=skylake-avx512", "arch=haswell", "default")))
#else
#define CLONED
#endif
#define INLINE static inline __attribute__((always_inline))

/* An encoded gate is ROW numbers: kind, mask of the controls, number of targets, place of its factors, and the targets' bits,
   least significant first. All bits are those of the local buffer. */
enum { DIAGONAL, FLIP, SWAP, REAL, GENERAL, PAIR, DENSE };
#define MOST_TARGETS 5
#define ROW (4 + MOST_TARGETS)

/* A number with zero bits put in at the bits of a mask. */
INLINE int64_t spread(int64_t value, int64_t mask)
{
    while (mask) {
        int64_t bit = mask & -mask;
        value = ((value & -bit) << 1) | (value & (bit - 1));
        mask ^= bit;
    }
    return value;
}

#define R double
#define NAME(x) x##_double
#include "gates.h"
#undef R
#undef NAME
#define R float
#define NAME(x) x##_float
#include "gates.h"
#undef R
#undef NAME

/* A contiguous buffer of items of one size. */
static int take(PyObject *source, Py_buffer *view, int flags, Py_ssize_t item, const char *what)
{
    if (PyObject_GetBuffer(source, view, flags | PyBUF_C_CONTIGUOUS | PyBUF_FORMAT) < 0)
        return -1;
    if (view->itemsize != item) {
        PyErr_Format(PyExc_ValueError, "%s has items of %zd bytes, not %zd", what, view->itemsize, item);
        PyBuffer_Release(view);
        return -1;
    }
    return 0;
}

/* Whether a gate stays inside a buffer of `bits` bits and its factors inside their array. */
static int is_sound(const int64_t *gate, int64_t size, Py_ssize_t factors)
{
    static const int widths[] = {-1, 1, 2, 1, 1, 2, -1};
    int64_t kind = gate[0], control = gate[1], targets = gate[2], at = gate[3], seen = control;
    if (kind < DIAGONAL || kind > DENSE || targets < 0 || targets > MOST_TARGETS || control < 0 || control >= size)
        return 0;
    if (widths[kind] >= 0 && targets != widths[kind])
        return 0;
    for (int64_t i = 0; i < targets; i++) {
        int64_t bit = gate[4 + i];
        if (bit <= 0 || bit >= size || (bit & (bit - 1)) || (seen & bit))
            return 0;
        seen |= bit;
    }
    int64_t rows = (int64_t)1 << targets;
    int64_t wanted = kind == FLIP || kind == SWAP ? 0 : kind == DIAGONAL ? 2 * rows : 2 * rows * rows;
    return at >= 0 && at + wanted <= factors;
}

PyDoc_STRVAR(sweep_doc,
             "sweep(states, rows, inner, offsets, outer, gates, factors, room)\n--\n\n"
             "Applies a run of gates to some rows of amplitudes, in place.\n\n"
             "states: amplitudes, shape (R, 2^n), complex128 or complex64; rows: rows to change; inner: how many of the lowest\n"
             "bits are local and contiguous; offsets: offset of each value of the other local bits, shape (2^(local - inner),);\n"
             "outer: mask of the bits that are not local; gates: encoded gates over bits of the local buffer, shape (G, 9);\n"
             "factors: real and imaginary parts of their elements; room: scratch, at least 2 * 2^local long; both of the\n"
             "precision of the states. ValueError: the parts do not fit together.");

static PyObject *sweep(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    (void)self;
    if (count != 8)
        return PyErr_Format(PyExc_TypeError, "sweep takes 8 arguments, not %zd", count);
    Py_buffer states, rows, offsets, gates, factors, room;
    PyObject *result = NULL;
    if (PyObject_GetBuffer(args[0], &states, PyBUF_WRITABLE | PyBUF_C_CONTIGUOUS | PyBUF_FORMAT) < 0)
        return NULL;
    int64_t inner = PyLong_AsLongLong(args[2]), outer = PyLong_AsLongLong(args[4]);
    Py_ssize_t real = states.itemsize / 2;
    if (PyErr_Occurred())
        goto states_done;
    if (states.ndim != 2 || (real != 8 && real != 4)) {
        PyErr_SetString(PyExc_ValueError, "states are two-dimensional, of complex numbers");
        goto states_done;
    }
    if (take(args[1], &rows, 0, 8, "rows") < 0)
        goto states_done;
    if (take(args[3], &offsets, 0, 8, "offsets") < 0)
        goto rows_done;
    if (take(args[5], &gates, 0, 8, "gates") < 0)
        goto offsets_done;
    if (take(args[6], &factors, 0, real, "factors") < 0)
        goto gates_done;
    if (take(args[7], &room, PyBUF_WRITABLE, real, "room") < 0)
        goto factors_done;
    int64_t dimension = states.shape[1], many = rows.len / 8, places = offsets.len / 8, run = gates.len / 8 / ROW;
    int64_t size = inner < 0 || inner > 30 || places > (int64_t)1 << 30 ? 0 : places << inner;
    int64_t passes = outer < 0 || outer >= dimension ? 0 : (int64_t)1 << __builtin_popcountll((uint64_t)outer);
    int64_t all = outer;
    const int64_t *row = rows.buf, *offset = offsets.buf, *gate = gates.buf;
    for (int64_t i = 0; i < places; i++)
        all |= offset[i];
    int sound = size > 0 && passes > 0 && size == dimension / passes && (places & (places - 1)) == 0 && all >= 0 &&
                (all | (((int64_t)1 << inner) - 1)) < dimension && room.len / real >= 2 * size;
    for (int64_t i = 0; sound && i < many; i++)
        sound = row[i] >= 0 && row[i] < states.shape[0];
    for (int64_t i = 0; sound && i < run; i++)
        sound = is_sound(gate + i * ROW, size, factors.len / real);
    if (!sound) {
        PyErr_SetString(PyExc_ValueError, "the sweep does not fit its states");
        goto room_done;
    }
    Py_BEGIN_ALLOW_THREADS;
    for (int64_t i = 0; i < many; i++) {
        if (real == 8)
            pass_double((double *)states.buf + 2 * dimension * row[i], inner, offset, places, outer, passes, gate, run,
                        factors.buf, room.buf);
        else
            pass_float((float *)states.buf + 2 * dimension * row[i], inner, offset, places, outer, passes, gate, run,
                       factors.buf, room.buf);
    }
    Py_END_ALLOW_THREADS;
    result = Py_NewRef(Py_None);
room_done:
    PyBuffer_Release(&room);
factors_done:
    PyBuffer_Release(&factors);
gates_done:
    PyBuffer_Release(&gates);
offsets_done:
    PyBuffer_Release(&offsets);
rows_done:
    PyBuffer_Release(&rows);
states_done:
    PyBuffer_Release(&states);
    return result;
}

static PyMethodDef methods[] = {{"sweep", (PyCFunction)(void (*)(void))sweep, METH_FASTCALL, sweep_doc}, {NULL, NULL, 0, NULL}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "qmesh_node.native", "Compiled sweeps of gates over rows of amplitudes.", -1, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit_native(void)
{
    return PyModule_Create(&module);
}
