/* Gates on a local buffer of amplitudes, real and imaginary parts apart; included once for each type R of reals. */

/* Multiplies `width` amplitudes by a + ib. */
INLINE void NAME(scale)(R *restrict x, R *restrict y, int64_t width, R a, R b)
{
    if (b == 0)
        for (int64_t i = 0; i < width; i++) {
            x[i] *= a;
            y[i] *= a;
        }
    else
        for (int64_t i = 0; i < width; i++) {
            R u = x[i], v = y[i];
            x[i] = a * u - b * v;
            y[i] = a * v + b * u;
        }
}

INLINE void NAME(exchange)(R *restrict x, R *restrict y, int64_t width)
{
    for (int64_t i = 0; i < width; i++) {
        R u = x[i];
        x[i] = y[i];
        y[i] = u;
    }
}

INLINE void NAME(real)(R *restrict x, R *restrict y, int64_t width, const R *m)
{
    R a = m[0], b = m[2], c = m[4], d = m[6];
    for (int64_t i = 0; i < width; i++) {
        R u = x[i], v = y[i];
        x[i] = a * u + b * v;
        y[i] = c * u + d * v;
    }
}

INLINE void NAME(general)(R *restrict x0, R *restrict y0, R *restrict x1, R *restrict y1, int64_t width, const R *m)
{
    R a = m[0], ai = m[1], b = m[2], bi = m[3], c = m[4], ci = m[5], d = m[6], di = m[7];
    for (int64_t i = 0; i < width; i++) {
        R u = x0[i], v = x1[i], s = y0[i], t = y1[i];
        x0[i] = a * u - ai * s + b * v - bi * t;
        y0[i] = a * s + ai * u + b * t + bi * v;
        x1[i] = c * u - ci * s + d * v - di * t;
        y1[i] = c * s + ci * u + d * t + di * v;
    }
}

INLINE void NAME(pair)(R *restrict x0, R *restrict x1, R *restrict x2, R *restrict x3, R *restrict y0, R *restrict y1,
                       R *restrict y2, R *restrict y3, int64_t width, const R *m)
{
    for (int64_t i = 0; i < width; i++) {
        R p = x0[i], q = x1[i], r = x2[i], s = x3[i], t = y0[i], u = y1[i], v = y2[i], w = y3[i];
#define ROW_OF(k, x, y)                                                                                                     \
    x = m[k] * p - m[k + 1] * t + m[k + 2] * q - m[k + 3] * u + m[k + 4] * r - m[k + 5] * v + m[k + 6] * s - m[k + 7] * w;    \
    y = m[k] * t + m[k + 1] * p + m[k + 2] * u + m[k + 3] * q + m[k + 4] * v + m[k + 5] * r + m[k + 6] * w + m[k + 7] * s;
        ROW_OF(0, x0[i], y0[i])
        ROW_OF(8, x1[i], y1[i])
        ROW_OF(16, x2[i], y2[i])
        ROW_OF(24, x3[i], y3[i])
#undef ROW_OF
    }
}

/* The two lowest bits have runs too short for vectors: pairs (2i, 2i + 1), and (4i, 4i + 2), (4i + 1, 4i + 3). */
INLINE void NAME(real_low)(R *restrict x, int64_t count, int64_t target, const R *m)
{
    R a = m[0], b = m[2], c = m[4], d = m[6];
    if (target == 1)
        for (int64_t i = 0; i < count; i += 2) {
            R u = x[i], v = x[i + 1];
            x[i] = a * u + b * v;
            x[i + 1] = c * u + d * v;
        }
    else
        for (int64_t i = 0; i < count; i += 4) {
            R u = x[i], v = x[i + 2], s = x[i + 1], t = x[i + 3];
            x[i] = a * u + b * v;
            x[i + 2] = c * u + d * v;
            x[i + 1] = a * s + b * t;
            x[i + 3] = c * s + d * t;
        }
}

INLINE void NAME(general_low)(R *restrict x, R *restrict y, int64_t count, const R *m)
{
    R a = m[0], ai = m[1], b = m[2], bi = m[3], c = m[4], ci = m[5], d = m[6], di = m[7];
    for (int64_t i = 0; i < count; i += 2) {
        R u = x[i], v = x[i + 1], s = y[i], t = y[i + 1];
        x[i] = a * u - ai * s + b * v - bi * t;
        y[i] = a * s + ai * u + b * t + bi * v;
        x[i + 1] = c * u - ci * s + d * v - di * t;
        y[i + 1] = c * s + ci * u + d * t + di * v;
    }
}

INLINE void NAME(dense)(R *restrict x, R *restrict y, int64_t begin, const int64_t *target, int64_t targets, const R *m)
{
    R u[1 << MOST_TARGETS], v[1 << MOST_TARGETS];
    int64_t place[1 << MOST_TARGETS], size = (int64_t)1 << targets;
    for (int64_t k = 0; k < size; k++) {
        int64_t at = begin;
        for (int64_t bit = 0; bit < targets; bit++)
            if (k >> bit & 1)
                at |= target[bit];
        place[k] = at;
        u[k] = x[at];
        v[k] = y[at];
    }
    for (int64_t row = 0; row < size; row++, m += 2 * size) {
        R s = 0, t = 0;
        for (int64_t k = 0; k < size; k++) {
            s += m[2 * k] * u[k] - m[2 * k + 1] * v[k];
            t += m[2 * k] * v[k] + m[2 * k + 1] * u[k];
        }
        x[place[row]] = s;
        y[place[row]] = t;
    }
}

/* One gate on the whole buffer. */
INLINE void NAME(apply)(R *restrict x, R *restrict y, int64_t size, const int64_t *gate, const R *factors)
{
    int64_t kind = gate[0], control = gate[1], targets = gate[2], mask = control;
    const int64_t *target = gate + 4;
    const R *m = factors + gate[3];
    for (int64_t i = 0; i < targets; i++)
        mask |= target[i];
    if (kind == REAL && mask <= 2) {
        NAME(real_low)(x, size, mask, m);
        NAME(real_low)(y, size, mask, m);
        return;
    }
    if (kind == GENERAL && mask == 1) {
        NAME(general_low)(x, y, size, m);
        return;
    }
    int64_t low = mask ? mask & -mask : size; /* so many neighbours are treated alike */
    int64_t involved = __builtin_popcountll((uint64_t)mask), groups = (size >> involved) / low;
    if (!mask)
        groups = 1;
    if (kind == DENSE) {
        for (int64_t group = 0; group < size >> involved; group++)
            NAME(dense)(x, y, spread(group, mask) | control, target, targets, m);
        return;
    }
    for (int64_t group = 0; group < groups; group++) {
        int64_t at = spread(group * low, mask) | control;
        int64_t one = at | target[0], two = at | target[1];
        switch (kind) {
        case DIAGONAL:
            for (int64_t value = 0; value < (int64_t)1 << targets; value++) {
                int64_t place = at;
                for (int64_t bit = 0; bit < targets; bit++)
                    if (value >> bit & 1)
                        place |= target[bit];
                NAME(scale)(x + place, y + place, low, m[2 * value], m[2 * value + 1]);
            }
            break;
        case FLIP:
            NAME(exchange)(x + at, x + one, low);
            NAME(exchange)(y + at, y + one, low);
            break;
        case SWAP:
            NAME(exchange)(x + one, x + two, low);
            NAME(exchange)(y + one, y + two, low);
            break;
        case REAL:
            NAME(real)(x + at, x + one, low, m);
            NAME(real)(y + at, y + one, low, m);
            break;
        case GENERAL:
            NAME(general)(x + at, y + at, x + one, y + one, low, m);
            break;
        default:
            NAME(pair)(x + at, x + one, x + two, x + (one | two), y + at, y + one, y + two, y + (one | two), low, m);
        }
    }
}

/* One row: every value of the outer wires in turn. */
CLONED static void NAME(pass)(R *state, int64_t inner, const int64_t *offset, int64_t places, int64_t outer, int64_t passes,
                              const int64_t *gate, int64_t run, const R *factors, R *room)
{
    int64_t width = (int64_t)1 << inner, size = places << inner, value = 0;
    R *x = room, *y = room + size;
    for (int64_t pass = 0; pass < passes; pass++) {
        for (int64_t s = 0; s < places; s++) {
            const R *source = state + 2 * (value | offset[s]);
            R *restrict u = x + s * width, *restrict v = y + s * width;
            for (int64_t i = 0; i < width; i++) {
                u[i] = source[2 * i];
                v[i] = source[2 * i + 1];
            }
        }
        for (int64_t g = 0; g < run; g++)
            NAME(apply)(x, y, size, gate + g * ROW, factors);
        for (int64_t s = 0; s < places; s++) {
            R *target = state + 2 * (value | offset[s]);
            const R *restrict u = x + s * width, *restrict v = y + s * width;
            for (int64_t i = 0; i < width; i++) {
                target[2 * i] = u[i];
                target[2 * i + 1] = v[i];
            }
        }
        value = (value - outer) & outer; /* the next value of the outer wires */
    }
}
