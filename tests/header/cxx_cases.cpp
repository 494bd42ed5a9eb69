/*
 * What only C++ has: exceptions, lambdas, templates, temporaries as names. The header is included
 * inside extern "C", as careless programs do.
 */
extern "C" {
#include "heaptally.h"
}
#include "cases.h"

#include <stdexcept>
#include <string>

static void thrower(bool outer)
{
    HEAPTALLY_SCOPE("throw-a")
    {
        HEAPTALLY_CONSTRUCT("throw-b")
        {
            if (!outer)
                throw std::runtime_error("inner");
        }
        throw std::runtime_error("outer");
    }
}

static void exception_through()
{
    for (int i = 0; i < 2; i++) {
        try {
            thrower(i == 1);
        } catch (const std::runtime_error &error) {
            say(error.what());
        }
    }
}

static void exception_caught_inside()
{
    HEAPTALLY_SCOPE("catch-a")
    {
        try {
            HEAPTALLY_SCOPE("catch-b") throw 1;
        } catch (int) {
            say("caught");
        }
    }
}

static void no_alloc_thrower()
{
    HEAPTALLY_NO_ALLOC("throw-region")
    {
        HEAPTALLY_SCOPE("throw-scope")
        {
            throw std::runtime_error("out of both");
        }
    }
}

static void exception_out_of_region()
{
    try {
        no_alloc_thrower();
    } catch (const std::runtime_error &error) {
        say(error.what());
    }
}

class Controller
{
  public:
    Controller()
    {
        HEAPTALLY_CONSTRUCT("class")
        {
            say("constructor");
        }
    }
    ~Controller()
    {
        HEAPTALLY_SCOPE("class") say("destructor");
    }
    int step()
    {
        HEAPTALLY_SCOPE(name_.c_str())
        {
            return 1;
        }
        return 0;
    }

  private:
    std::string name_ = "member";
};

static void in_class()
{
    Controller controller;
    controller.step();
    controller.step();
}

/* Each instantiation of a template has places of its own. */
template <int axis> static void templated(const char *name)
{
    for (int i = 0; i < 2; i++) {
        HEAPTALLY_SCOPE(axis ? "axis-one" : "axis-zero")
        {
        }
    }
    HEAPTALLY_SCOPE(name)
    {
    }
}

static void in_template()
{
    templated<0>("name-zero");
    templated<1>("name-one");
    templated<0>("name-two");
}

static void in_lambda()
{
    auto step = [](const std::string &name) {
        HEAPTALLY_SCOPE((name + "-x").c_str())
        {
            return 3;
        }
        return 0;
    };
    say(step("lambda") == 3 ? "3" : "not 3");
}

/* An inline function's place is one place, whatever number of units it is compiled into. */
inline void inline_function()
{
    HEAPTALLY_SCOPE("inline")
    {
    }
}

static void in_inline_function()
{
    inline_function();
    inline_function();
}

/* An exception stays in the wrapper that the header compiles here. */
static void callback_throws()
{
    heaptally_alert_function *function = [](const heaptally_alert *, void *) {
        throw std::runtime_error("out of a callback");
    };
    int result = heaptally_set_alert_callback(function, nullptr);
    say(result == 0 || result == HEAPTALLY_ABSENT ? "fine" : "an error");
    heaptally_set_alert_callback(nullptr, nullptr);
}

/* The entries that are macros, in a unit that the stricter warnings of C++ are tried on. */
static void every_entry()
{
    heaptally_token token = heaptally_begin("entry");
    heaptally_cycle(std::string("entry").c_str());
    heaptally_track_instantiation("entry", nullptr);
    heaptally_end(token);
    token = heaptally_no_alloc_begin("entry");
    heaptally_no_alloc_end(token);
}

const test_case cxx_cases[] = {
    {"exception_through", exception_through},
    {"exception_caught_inside", exception_caught_inside},
    {"exception_out_of_region", exception_out_of_region},
    {"in_class", in_class},
    {"in_template", in_template},
    {"in_lambda", in_lambda},
    {"in_inline_function", in_inline_function},
    {"callback_throws", callback_throws},
    {"every_entry", every_entry},
    {nullptr, nullptr},
};
