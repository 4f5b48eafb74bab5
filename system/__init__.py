"""The system model: tables and a network in; joules, seconds and square millimetres of training out."""
