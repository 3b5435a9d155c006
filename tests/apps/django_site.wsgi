"""A Django project in one file: admin, a form, static files, sqlite beside it."""
import os
import sys
from pathlib import Path

import django
from django.conf import settings

HERE = Path(__file__).resolve().parent
settings.configure(
    SECRET_KEY="for tests", PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
    ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, USE_TZ=True,
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": HERE / "db.sqlite3"}},
    INSTALLED_APPS=["django.contrib.admin", "django.contrib.auth", "django.contrib.contenttypes",
                    "django.contrib.sessions", "django.contrib.messages",
                    "django.contrib.staticfiles"],
    MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware",
                "django.middleware.csrf.CsrfViewMiddleware",
                "django.contrib.auth.middleware.AuthenticationMiddleware",
                "django.contrib.messages.middleware.MessageMiddleware"],
    TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True,
                "OPTIONS": {"context_processors": [
                    "django.template.context_processors.request",
                    "django.contrib.auth.context_processors.auth",
                    "django.contrib.messages.context_processors.messages"]}}],
    STATIC_URL="/static/", STATIC_ROOT=HERE / "static",
)
django.setup()

from django.contrib import admin  # noqa: E402
from django.http import HttpResponse  # noqa: E402
from django.middleware.csrf import get_token  # noqa: E402
from django.urls import path  # noqa: E402
from django.utils.html import escape  # noqa: E402

FORM = '<form method="post"><input type="hidden" name="csrfmiddlewaretoken" value="{}"></form>'


def form(request):
    if request.method == "POST":
        return HttpResponse(f"posted: {escape(request.POST['text'])}")
    return HttpResponse(FORM.format(get_token(request)))


urlpatterns = [path("admin/", admin.site.urls), path("form/", form)]


def make_admin():
    from django.contrib.auth.models import User
    User.objects.create_superuser("admin", "admin@example.com", "secret")


if __name__ == "__main__":
    from django.core.management import execute_from_command_line
    sys.modules[__name__] = sys.modules["__main__"]
    make_admin() if sys.argv[1] == "make_admin" else execute_from_command_line(sys.argv)
else:
    from django.core.handlers.wsgi import WSGIHandler
    application = WSGIHandler()
